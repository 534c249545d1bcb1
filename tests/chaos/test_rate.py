"""A vendor's rate over a minute: what it allows is used, and nothing beyond."""

from __future__ import annotations

import time

import pytest

from tests.chaos.conftest import SOAK, Accounted
from tests.harness import Harness

N = 50
SECONDS = 60
# Until two workers that have just begun do their jobs as fast as later.
BEGIN_SECONDS = 2.0


@pytest.mark.skipif(
    not SOAK, reason="takes a minute: make chaos; tests/walk/test_limits.py is short"
)
def test_two_workers_use_all_that_a_vendor_allows(harness: Harness, accounted: Accounted) -> None:
    harness.sandbox.limit("stripe", N)
    for _ in range(2):
        harness.worker(FERRYMAN_RATE_PER_SECOND=str(N), FERRYMAN_CONCURRENCY="20")
    jobs = [harness.charge(n=n) for n in range(N * (SECONDS + 5) // 2)]

    time.sleep(SECONDS)  # to look every moment would be a load that the rate is measured under
    assert harness.all_ended(jobs, seconds=SECONDS) == {"succeeded": len(jobs)}

    at = [request["at"] for request in harness.sandbox.requests("stripe")]
    seen = harness.sandbox.traffic()["stripe"]
    steady = [t for t in at if BEGIN_SECONDS <= t - at[0] <= BEGIN_SECONDS + SECONDS]
    use = len(steady) / SECONDS / N
    print(f"use {use:.3f}, most in a second {seen['peak_per_second']} of {N}")
    assert seen["throttled"] == 0
    assert use >= 0.95
    accounted(harness, jobs)
