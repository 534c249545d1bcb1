"""Rates, cool-downs and refused credentials, with two real workers, counted at the vendor."""

from __future__ import annotations

from typing import Any

from tests.harness import Harness, until

FEW = {"FERRYMAN_CONCURRENCY": "10"}
DONE = "SELECT FROM ferryman.jobs WHERE status = 'succeeded'"
REVOKED = "_".join(("sk", "test", "revoked"))


def test_the_vendor_never_sees_more_than_its_rate(harness: Harness) -> None:
    harness.sandbox.limit("stripe", 60)
    for _ in range(2):
        harness.worker(FERRYMAN_RATE_PER_SECOND="60", **FEW)
    # Each asks twice: for its customer, and for the payment.
    jobs = [harness.charge(n=n) for n in range(80)]
    until(lambda: len(harness.rows(DONE)) >= 40)

    harness.redis().flushdb()

    assert harness.all_ended(jobs, seconds=30) == {"succeeded": 80}
    seen = harness.sandbox.traffic()["stripe"]
    assert (seen["requests"], seen["throttled"]) == (160, 0)
    assert harness.rows("SELECT FROM ferryman.jobs WHERE attempts <> 1") == []


def test_without_the_broker_a_rated_vendor_is_not_called(harness: Harness) -> None:
    harness.worker(FERRYMAN_RATE_PER_SECOND="40", **FEW)
    with harness.redis() as broker:
        broker.set("ferryman:rate:stripe", "")
        broker.delete("ferryman:rate:stripe")
        broker.lpush("ferryman:rate:stripe", "no number")  # every question about it fails
    job_id = harness.charge()

    until(lambda: "broker" in str(harness.job(job_id)["reason"]))

    assert harness.sandbox.requests("stripe") == []
    harness.redis().delete("ferryman:rate:stripe")
    job = harness.ended(job_id)
    assert (job["status"], job["attempts"]) == ("succeeded", 1)


def test_a_cool_down_is_kept_by_all_to_the_second(harness: Harness) -> None:
    throttle = {"do": "throttle", "retry_after": 2, "when": {"nth": [5]}}
    slow = {"do": "latency", "seconds": 0.1}
    harness.sandbox.script([{"vendor": "stripe", **rule} for rule in (slow, throttle)])
    for _ in range(2):
        harness.worker(FERRYMAN_CONCURRENCY="2")
    jobs = [harness.charge(n=n) for n in range(30)]

    assert harness.all_ended(jobs) == {"succeeded": 30}
    requests = harness.sandbox.requests("stripe")
    (refused,) = [request["at"] for request in requests if request["fault"] == "throttle"]
    # What was on its way goes on, and the other process hears of it within a moment.
    after = [at for at in (request["at"] - refused for request in requests) if at > 0.6]
    assert min(after) >= 1.9
    assert harness.rows("SELECT FROM ferryman.jobs WHERE attempts <> 1") == []


def test_a_new_key_is_rolled_in_beside_a_revoked_one(harness: Harness) -> None:
    old = harness.worker(STRIPE_SECRET_KEY=REVOKED, **FEW)
    jobs = [harness.charge(n=n) for n in range(40)]
    until(lambda: _paused(harness))

    harness.worker(**FEW)
    # Those that were refused look again only later.
    harness.rows("UPDATE ferryman.jobs SET run_at = now() WHERE status = 'waiting' RETURNING id")

    assert harness.all_ended(jobs) == {"succeeded": 40}
    assert old.poll() is None
    assert _paused(harness)
    refused = [r for r in harness.sandbox.requests("stripe") if r["status"] == 401]
    assert len(refused) <= 10, "no more than were in flight when the first was refused"
    assert harness.rows("SELECT FROM ferryman.jobs WHERE attempts <> 1") == []


def _paused(harness: Harness) -> list[dict[str, Any]]:
    return harness.rows(
        "SELECT FROM ferryman.vendor_states WHERE vendor = 'stripe' AND pause_fingerprint <> ''"
    )
