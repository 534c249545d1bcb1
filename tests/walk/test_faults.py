"""Faults in the middle of a job: the vendor's, the network's, the worker's, the broker's."""

from __future__ import annotations

from typing import Any

from tests.chaos.conftest import long
from tests.harness import Harness, until


def fault(harness: Harness, **rule: Any) -> None:
    harness.sandbox.script([{"vendor": "stripe", **rule}])


SUCCEEDED = "SELECT FROM ferryman.jobs WHERE status = 'succeeded'"
CHARGES = {"path": "/v1/payment_intents", "method": "POST"}


def test_worker_killed_in_the_middle_of_a_slow_call(harness: Harness) -> None:
    fault(harness, **CHARGES, when={"nth": [1]}, do="latency", seconds=5)
    first = harness.worker()
    job_id = harness.charge()
    until(
        lambda: harness.rows(
            "SELECT FROM ferryman.sends WHERE job_id = %s AND step = 'charge'", (job_id,)
        )
    )

    harness.kill(first)
    harness.worker()
    job = harness.ended(job_id, seconds=30)

    assert job["status"] == "succeeded"
    assert [a["outcome"] for a in harness.attempts(job_id)] == ["lease_lost", "succeeded"]
    assert len(harness.sandbox.effects(vendor="stripe", kind="charge")) == 1


def test_effect_then_cut_is_repeated_with_the_same_key(harness: Harness) -> None:
    fault(harness, **CHARGES, when={"nth": [1]}, do="drop_after")
    harness.worker()
    job_id = harness.charge()

    assert harness.ended(job_id)["status"] == "succeeded"
    assert len(harness.attempts(job_id)) == 2
    assert len(harness.sandbox.effects(vendor="stripe", kind="charge")) == 1


def test_throttled_uses_no_attempt(harness: Harness) -> None:
    fault(harness, **CHARGES, when={"first": 2}, do="throttle", retry_after=1)
    harness.worker()
    job_id = harness.charge()

    job = harness.ended(job_id)

    assert job["status"] == "succeeded"
    assert job["attempts"] == 1
    outcomes = [a["outcome"] for a in harness.attempts(job_id)]
    assert outcomes == ["throttled", "throttled", "succeeded"]


@long
def test_a_vendor_that_is_down_opens_the_breaker_and_all_succeed_later(harness: Harness) -> None:
    harness.charge(n=99)
    harness.worker(
        FERRYMAN_BREAKER_FAIL_MAX="5", FERRYMAN_BREAKER_RESET_SECONDS="1", FERRYMAN_CONCURRENCY="10"
    )
    fault(harness, do="status", status=503)
    jobs = [harness.charge(n=n) for n in range(50)]
    parked = until(
        lambda: harness.rows(
            "SELECT reason FROM ferryman.jobs WHERE status = 'waiting'"
            " AND reason LIKE 'stripe is unavailable since%%next probe%%'"
        )
    )
    assert parked
    opened = harness.rows("SELECT state FROM ferryman.breaker_changes ORDER BY id")
    assert opened[0] == {"state": "open"}

    harness.sandbox.script([])

    assert harness.all_ended(jobs, seconds=40) == {"succeeded": 50}
    assert len(harness.sandbox.effects(vendor="stripe", kind="charge")) == 51
    last = harness.rows("SELECT breaker FROM ferryman.vendor_states WHERE vendor = 'stripe'")
    assert last == [{"breaker": "closed"}]


def test_sigterm_finishes_what_is_in_flight_and_hands_back_the_rest(harness: Harness) -> None:
    fault(harness, **CHARGES, do="latency", seconds=1)
    worker = harness.worker(FERRYMAN_CONCURRENCY="10")
    jobs = [harness.charge(n=n) for n in range(30)]
    until(
        lambda: harness.rows(
            "SELECT FROM ferryman.sends WHERE step = 'charge' AND answered_at IS NULL"
        )
    )

    assert harness.stop(worker) == 0

    running = harness.rows("SELECT FROM ferryman.jobs WHERE status = 'running'")
    assert running == []
    assert harness.rows("SELECT FROM ferryman.workers") == []
    harness.worker()
    assert harness.all_ended(jobs) == {"succeeded": 30}
    assert len(harness.sandbox.effects(vendor="stripe", kind="charge")) == 30
