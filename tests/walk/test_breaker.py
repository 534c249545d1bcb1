"""One breaker over two real workers, counted at the vendor."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.chaos.conftest import long
from tests.harness import Harness, until

FAIL_MAX, SLOTS, WINDOW = 5, 4, 1.0
SETTINGS = {
    "FERRYMAN_BREAKER_FAIL_MAX": str(FAIL_MAX),
    "FERRYMAN_BREAKER_RESET_SECONDS": str(WINDOW),
    "FERRYMAN_CONCURRENCY": str(SLOTS),
    "FERRYMAN_MAX_ATTEMPTS": "50",
}
DOWN = {"vendor": "stripe", "do": "status", "status": 503}
STATES = "SELECT state FROM ferryman.breaker_changes ORDER BY id"


def times(harness: Harness) -> list[float]:
    return [request["at"] for request in harness.sandbox.requests("stripe")]


def states(harness: Harness) -> list[Any]:
    return [row["state"] for row in harness.rows(STATES)]


def test_few_calls_open_it_then_one_probe_a_window_then_a_drain(harness: Harness) -> None:
    for _ in range(2):
        harness.worker(**SETTINGS)
    harness.sandbox.script([DOWN])
    jobs = [harness.charge(n=n) for n in range(40)]

    # It opens, and three probes find the vendor down.
    until(lambda: states(harness)[:7] == ["open", *["half-open", "open"] * 3])
    seen = times(harness)
    probes = seen[-3:]
    assert len(seen) - len(probes) <= FAIL_MAX + 2 * SLOTS
    assert all(later - earlier >= 0.9 * WINDOW for earlier, later in pairwise(probes))
    assert probes[0] - seen[-4] >= 0.5 * WINDOW

    harness.sandbox.script([{"vendor": "stripe", "do": "latency", "seconds": 0.2}])
    until(lambda: "closed" in states(harness))
    assert harness.all_ended(jobs) == {"succeeded": 40}

    # The probe's job makes two calls; then each process has one, until that has succeeded.
    healed = times(harness)[len(seen) :]
    closed = healed[1] + 0.2
    assert sum(1 for at in healed if closed < at < closed + 0.3) <= 2 + 2
    (row,) = harness.rows("SELECT * FROM ferryman.vendor_states WHERE vendor = 'stripe'")
    assert (row["breaker"], row["draining"]) == ("closed", False)
    assert harness.rows("SELECT FROM ferryman.jobs WHERE attempts > 10") == []


@long
def test_a_probe_whose_worker_is_killed_is_followed_by_one_other(harness: Harness) -> None:
    harness.connection.execute(
        "INSERT INTO ferryman.vendor_states (vendor, breaker, opened_at, probe_at)"
        " VALUES ('stripe', 'open', now(), now())"
    )
    harness.sandbox.script([{"vendor": "stripe", "do": "silent_before"}])
    prober = harness.worker(**SETTINGS)
    jobs = [harness.charge(n=n) for n in range(10)]
    until(lambda: times(harness))
    for _ in range(2):
        harness.worker(**SETTINGS)

    harness.kill(prober)
    # The killed job is free again, and yet nobody calls while the lost permit lasts.
    until(
        lambda: harness.rows(
            "SELECT FROM ferryman.attempts a JOIN ferryman.jobs j ON j.id = a.job_id"
            " WHERE a.outcome = 'lease_lost' AND j.status = 'waiting'"
        )
    )
    assert len(times(harness)) == 1
    harness.sandbox.script([{"vendor": "stripe", "do": "latency", "seconds": 0.5}])
    harness.connection.execute("UPDATE ferryman.vendor_states SET probe_until = now()")

    until(lambda: states(harness)[-1] == "closed")
    # The probe's job made one call or two, one after the other; nobody else did.
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(times(harness)[1:3]))
    assert harness.all_ended(jobs) == {"succeeded": 10}
