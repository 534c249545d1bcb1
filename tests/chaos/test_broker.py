"""A broker that forgets, dies, or holds what no one of ours wrote: it only carries ids."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import CHARGES, outcomes, wrong_worker
from tests.chaos.servers import Breakable
from tests.harness import Harness, until
from worker.envelope import envelope

QUEUE = "ferryman.stripe"
CHARGE = {"customer": "u", "amount": 100, "currency": "usd", "payment_method": "pm_card_visa"}
SUCCEEDED = "SELECT FROM ferryman.jobs WHERE status = 'succeeded'"


def test_wiped_and_killed_without_persistence_under_a_busy_worker(
    broken: Harness, servers_to_break: Breakable, scale: Scale, accounted: Accounted
) -> None:
    """Each round wipes it, and then kills it with all that it holds."""
    rounds = scale(1, 5)
    broken.sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.2}])
    jobs = [broken.charge(n=n) for n in range(60 * rounds)]
    # A window smaller than the backlog, so that there is always something to be lost.
    worker = broken.worker(FERRYMAN_CONCURRENCY="4", FERRYMAN_RELAY_WINDOW="20")
    for n in range(rounds):
        succeeded(broken, at_least=60 * n + 8)
        broken.redis().flushall()
        succeeded(broken, at_least=60 * n + 30)
        servers_to_break.kill_broker()
        time.sleep(0.5)
        servers_to_break.start_broker()

    assert broken.all_ended(jobs, seconds=60 * rounds) == {"succeeded": len(jobs)}
    assert worker.poll() is None
    accounted(broken, jobs)


def succeeded(harness: Harness, at_least: int) -> None:
    until(lambda: len(harness.rows(SUCCEEDED)) >= at_least, 60, what=f"{at_least} succeeded")


def forged(job_id: UUID, body: bytes, content_type: str) -> bytes:
    """A message for our queue with a body of another make."""
    message = json.loads(envelope(job_id, "charge", QUEUE))
    message |= {"body": base64.b64encode(body).decode(), "content-type": content_type}
    return json.dumps(message).encode()


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def pickled(job: UUID, path: Path) -> bytes:
    return forged(job, pickle.dumps(Trap(path)), "application/x-python-serialize")


def with_arguments(job: UUID, _: Path) -> bytes:
    body = [["x"], {"amount": 1}, {"callbacks": None}]
    return forged(job, json.dumps(body).encode(), "application/json")


# Of a job that is not due, so that any attempt of it would be a wrong one.
HOSTILE: dict[str, Callable[[UUID, Path], bytes]] = {
    "an id of nobody": lambda *_: envelope(uuid4(), "charge", QUEUE),
    "an id that is none": lambda *_: envelope("../etc", "charge", QUEUE),  # type: ignore[arg-type]
    "a job that is not due": lambda job, _: envelope(job, "charge", QUEUE),
    "another kind of that job": lambda job, _: envelope(job, "refund", QUEUE),
    "a kind that does not exist": lambda job, _: envelope(job, "nonsense", QUEUE),
    "a pickle": pickled,
    "arguments of its own": with_arguments,
    "a body that is no JSON": lambda job, _: forged(job, b"{", "application/json"),
    "an empty document": lambda *_: b"{}",
    "a list": lambda *_: b"[1, 2]",
    "no JSON": lambda *_: b"\x80\x04garbage",
}


def test_messages_of_a_stranger_hinder_nobody(harness: Harness, accounted: Accounted) -> None:
    trap = harness.folder / "trap"
    worker = harness.worker()
    planned = harness.row("SELECT now() + interval '1 hour' AS at")["at"]
    target = harness.enqueue("charge", {**CHARGE}, run_at=planned)
    jobs: list[UUID] = []
    for what, message in HOSTILE.items():
        with harness.redis() as broker:
            broker.lpush(QUEUE, message(target, trap))
        until(lambda: harness.redis().llen(QUEUE) == 0, what=f"{what}: it was taken")
        jobs.append(harness.charge(n=len(jobs)))
        assert harness.ended(jobs[-1])["status"] == "succeeded", what
        assert worker.poll() is None, what

    assert not trap.exists()
    assert harness.attempts(target) == []
    accounted(harness, jobs)


@long
def test_the_same_message_twenty_times_to_two_workers(
    harness: Harness, accounted: Accounted
) -> None:
    harness.worker()
    harness.worker()
    harness.sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.3}])
    jobs = [harness.charge(n=n) for n in range(5)]
    with harness.redis() as broker:
        for _ in range(20):
            broker.lpush(QUEUE, *(envelope(job, "charge", QUEUE) for job in jobs))

    assert harness.all_ended(jobs) == {"succeeded": 5}
    until(lambda: harness.redis().llen(QUEUE) == 0)
    assert [len(harness.attempts(job)) for job in jobs] == [1] * 5
    accounted(harness, jobs)


@long
def test_waits_and_calls_longer_than_the_visibility_timeout_run_once(
    harness: Harness, accounted: Accounted
) -> None:
    """Past it, a broker gives what was not acknowledged to the other worker."""
    harness.sandbox.script(
        [
            {**CHARGES, "contains": "long-call", "do": "latency", "seconds": 5},
            {
                **CHARGES,
                "contains": "long-wait",
                "do": "status",
                "status": 503,
                "headers": {"Retry-After": "5"},
                "when": {"nth": [1]},
            },
        ]
    )
    for _ in range(2):
        wrong_worker(harness, INSIDE_VISIBILITY="2", FERRYMAN_CONCURRENCY="2")
    waits = harness.charge(n=1, description="long-wait")
    calls = [harness.charge(n=n, description="long-call") for n in range(2, 8)]
    later = harness.row("SELECT now() + interval '5 s' AS at")["at"]
    planned = harness.enqueue("charge", {**CHARGE, "customer": "later"}, run_at=later)

    jobs = [waits, *calls, planned]
    assert harness.all_ended(jobs) == {"succeeded": len(jobs)}
    assert outcomes(harness, waits) == ["retry", "succeeded"]
    assert [len(harness.attempts(job)) for job in [*calls, planned]] == [1] * 7
    first, second = harness.attempts(waits)
    assert (second["started_at"] - first["finished_at"]).total_seconds() >= 5
    accounted(harness, jobs)


@long
def test_delays_of_any_length_run_once_and_not_early(
    harness: Harness, accounted: Accounted
) -> None:
    """No delay is a message: the broker's is empty while all of them wait."""
    delays = ["-1 year", "0 s", "1 s", "2500 ms", "30 days", "100 years"]
    at = [harness.row("SELECT now() + %s::interval AS at", (delay,))["at"] for delay in delays]
    jobs = [
        harness.enqueue("charge", {**CHARGE, "customer": f"u{n}"}, run_at=run_at)
        for n, run_at in enumerate(at)
    ]
    for _ in range(2):
        harness.worker()

    assert harness.all_ended(jobs[:4]) == {"succeeded": 4}

    for job, run_at in zip(jobs[:4], at[:4], strict=True):
        (attempt,) = harness.attempts(job)
        assert attempt["started_at"] >= run_at
    assert {harness.job(job)["status"] for job in jobs[4:]} == {"waiting"}
    assert harness.redis().llen(QUEUE) == 0
    assert harness.redis().zcard("unacked_index") == 0
    accounted(harness, jobs[:4])


@long
def test_a_mountain_of_due_jobs_fits_into_a_small_broker_and_a_small_worker(
    harness: Harness, scale: Scale
) -> None:
    count, window = scale(10_000, 100_000), 500
    harness.rows(
        "SELECT count(*) FROM generate_series(1, %s) AS n, LATERAL ferryman.enqueue('charge',"
        " jsonb_build_object('customer', 'u' || n %% 10, 'amount', 100, 'currency', 'usd',"
        " 'payment_method', 'pm_card_visa'))",
        (count,),
    )
    worker = harness.worker(FERRYMAN_RELAY_WINDOW=str(window), FERRYMAN_CONCURRENCY="50")
    succeeded(harness, at_least=300)
    before, longest, seen = memory(worker), 0, 0
    end = time.monotonic() + scale(3, 40)
    while time.monotonic() < end:
        longest = max(longest, int(harness.redis().llen(QUEUE)))
        seen += 1
        time.sleep(0.05)

    assert 0 < longest <= window
    assert memory(worker) - before < 20
    published = harness.row(
        "SELECT count(*) AS n FROM ferryman.jobs WHERE status = 'waiting' AND published_at > now()"
        " - interval '1 minute'"
    )
    # In its list, and on their way from there into a slot.
    assert published["n"] <= window + 200
    assert harness.stop(worker) == 0


def memory(process: subprocess.Popen[bytes]) -> float:
    """What a process holds, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
