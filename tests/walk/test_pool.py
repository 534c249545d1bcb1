"""The pool: Celery's tracer in greenlets on one loop keeps Celery's promises."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from celery import Celery

from tests.harness import Harness, until


@contextlib.contextmanager
def events(broker: str) -> Iterator[Counter[str]]:
    """Counts Celery's task events while the block lasts."""
    seen: Counter[str] = Counter()
    app = Celery(broker=broker)
    with app.connection() as connection:

        def count(event: dict[str, Any]) -> None:
            seen[event["type"]] += 1

        receiver = app.events.Receiver(connection, handlers={"*": count})
        thread = threading.Thread(
            target=lambda: receiver.capture(limit=None, timeout=None, wakeup=False), daemon=True
        )
        thread.start()
        yield seen
        receiver.should_stop = True
        thread.join(timeout=10)


def test_two_hundred_at_once_never_mix_up_and_events_are_exact(harness: Harness) -> None:
    harness.sandbox.script(
        [
            {"vendor": "stripe", "path": "/v1/payment_intents", "do": "latency", "seconds": 0.2},
        ]
    )
    with events(harness.broker) as seen:
        harness.worker(FERRYMAN_CONCURRENCY="200")
        jobs = [harness.charge(n=n) for n in range(200)]
        jobs.append(harness.charge(payment_method="pm_card_chargeDeclined"))

        assert harness.all_ended(jobs) == {"succeeded": 200, "failed": 1}
        until(lambda: seen["task-succeeded"] >= 200 and seen["task-failed"] >= 1)

    assert seen["task-received"] == seen["task-started"] == 201
    assert (seen["task-succeeded"], seen["task-failed"], seen["task-retried"]) == (200, 1, 0)
    rows = harness.rows("SELECT id, args, result FROM ferryman.jobs WHERE status = 'succeeded'")
    assert all(row["args"]["amount"] == row["result"]["amount"] for row in rows)
    assert all(row["args"]["customer"] == row["result"]["customer"] for row in rows)
    effects = harness.sandbox.effects(vendor="stripe", kind="charge")
    assert {e["metadata"]["job"]: e["amount"] for e in effects} == {
        str(row["id"]): row["args"]["amount"] for row in rows
    }


def test_autoretry_goes_through_the_ledger(harness: Harness) -> None:
    harness.sandbox.script(
        [
            {
                "vendor": "stripe",
                "path": "/v1/payment_intents",
                "when": {"first": 2},
                "do": "status",
                "status": 503,
            },
        ]
    )
    with events(harness.broker) as seen:
        harness.worker()
        job_id = harness.charge()

        assert harness.ended(job_id)["status"] == "succeeded"
        until(lambda: seen["task-succeeded"])

    assert seen["task-retried"] == 2
    assert [a["outcome"] for a in harness.attempts(job_id)] == ["retry", "retry", "succeeded"]
    first, second, _ = harness.attempts(job_id)
    pause = (second["started_at"] - first["finished_at"]).total_seconds()
    assert pause >= 0.1  # half of FERRYMAN_BACKOFF_SECONDS


def test_attempts_end(harness: Harness) -> None:
    harness.sandbox.script([{"vendor": "stripe", "do": "status", "status": 503}])
    harness.worker(FERRYMAN_MAX_ATTEMPTS="3", FERRYMAN_BREAKER_FAIL_MAX="100")
    job_id = harness.charge()

    job = harness.ended(job_id)

    # Each 503 may have come after the effect: that is doubt, not proof of absence.
    assert (job["status"], job["attempts"]) == ("unknown", 3)
    assert job["error"]["status"] == 503
