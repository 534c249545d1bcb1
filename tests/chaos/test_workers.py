"""Workers that die, freeze, leave, or cannot tell the time, in the middle of their jobs."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import (
    CHARGES,
    MAILS,
    PATIENT,
    about,
    both_banks,
    bucket,
    mail,
    outcomes,
    paypal,
    refund,
    sync,
    synced,
    wrong_worker,
)
from tests.harness import ENDED, Harness, suspended, until


def weather(harness: Harness) -> None:
    """A vendor's bad day. Chances are drawn from the sandbox's seed."""
    bad = [
        {"do": "status", "status": 503, "when": {"probability": 0.08}},
        {"do": "throttle", "retry_after": 1, "when": {"probability": 0.05}},
        {"do": "drop_after", "when": {"probability": 0.06}},
        {"do": "silent_after", "when": {"probability": 0.04}},
    ]
    slow = {"do": "latency", "seconds": 0.25}
    harness.sandbox.script(
        [
            {"vendor": vendor, **rule}
            for vendor in ("stripe", "paypal", "sendgrid")
            for rule in (slow, *bad)
        ]
    )


def mixed(harness: Harness, many: int) -> list[UUID]:
    """Thirty times as many jobs of six kinds, at two banks."""
    charges = [pay(harness, n, customer=f"user-{n % 40}") for n in range(7 * many) for pay in BANKS]
    held = [pay(harness, n, capture=False) for n in range(100, 100 + many) for pay in BANKS]
    refunds = [refund(harness, charge) for charge in charges[: 5 * many]]
    ends = [
        about(harness, "cancel_charge" if n % 4 == 0 else "capture_charge", charge)
        for n, charge in enumerate(held)
    ]
    mails = [mail(harness, n) for n in range(5 * many)]
    syncs = [sync(harness, n) for n in range(2 * many)]
    return charges + held + refunds + ends + mails + syncs


BANKS = (Harness.charge, paypal)


@long
def test_killed_again_and_again_with_jobs_of_all_kinds_in_bad_weather(
    harness: Harness, s3_server: str, scale: Scale, accounted: Accounted
) -> None:
    bucket(both_banks(harness), s3_server)
    weather(harness)
    jobs = mixed(harness, scale(3, 10))
    env = {
        **PATIENT,
        "FERRYMAN_CONCURRENCY": "8",
        "FERRYMAN_LEASE_SECONDS": "1",
        "INSIDE_TIMEOUT": "1",
    }
    worker = wrong_worker(harness, **env)
    for _ in range(scale(3, 25)):
        successor = wrong_worker(harness, **env)
        time.sleep(scale.random.uniform(0, 0.3))
        harness.kill(worker)
        worker = successor

    ends = harness.all_ended(jobs, seconds=90)

    made = accounted(harness, jobs)
    assert set(ends) <= {"succeeded", "unknown"}, made
    unknown = harness.rows("SELECT DISTINCT kind FROM ferryman.jobs WHERE status = 'unknown'")
    # Only what its vendor can neither dedupe nor look up.
    assert unknown in ([], [{"kind": "send_email"}])
    assert synced(harness, s3_server)


def test_a_zombie_changes_nothing_when_it_wakes_up(harness: Harness, accounted: Accounted) -> None:
    harness.sandbox.script(
        [
            {**CHARGES, "do": "latency", "seconds": 1, "when": {"first": 4}},
            {**CHARGES, "do": "status", "status": 503, "when": {"first": 2}},
        ]
    )
    zombie = harness.worker()
    jobs = [harness.charge(n=n) for n in range(4)]
    until(lambda: arrived(harness, "stripe", "/v1/payment_intents") == 4, what="all were sent")
    with suspended(zombie):
        harness.worker()
        # By now the answers, good and bad, wait for the zombie to read them.
        assert harness.all_ended(jobs) == {"succeeded": 4}
    answered = until(lambda: interactions(harness, jobs, fence=1), what="the zombie told")

    assert sorted(row["status_code"] for row in answered) == [200, 200, 503, 503]
    assert harness.all_ended(jobs) == {"succeeded": 4}
    assert [outcomes(harness, job) for job in jobs] == [["lease_lost", "succeeded"]] * 4
    until(lambda: workers(harness) == 2, what="the zombie is back under a new id")
    accounted(harness, jobs)


def interactions(harness: Harness, jobs: list[UUID], fence: int) -> list[dict[str, int]]:
    """What the charges of that attempt were answered, once each of them was told."""
    found = harness.rows(
        "SELECT status_code FROM ferryman.interactions"
        " WHERE job_id = ANY(%s) AND attempt = %s AND url LIKE '%%/payment_intents'",
        (jobs, fence),
    )
    return found if len(found) == len(jobs) else []


def arrived(harness: Harness, vendor: str, path: str) -> int:
    """How many such requests the vendor has: a mark alone tells only that one may have left."""
    return sum(1 for one in harness.sandbox.requests(vendor) if one["path"] == path)


def workers(harness: Harness) -> int:
    return len(harness.rows("SELECT FROM ferryman.workers WHERE lease_until > now()"))


@long
def test_a_mail_that_a_zombie_sent_is_never_sent_again(
    harness: Harness, accounted: Accounted
) -> None:
    harness.sandbox.script([{**MAILS, "do": "latency", "seconds": 1}])
    zombie = harness.worker()
    job = mail(harness)
    until(lambda: arrived(harness, "sendgrid", "/v3/mail/send"), what="it was sent")
    with suspended(zombie):
        harness.worker()
        assert harness.ended(job)["status"] == "unknown"
        assert len(harness.sandbox.requests("sendgrid")) == 1
    # The zombie finds its proof, and hands it in.
    until(lambda: harness.job(job)["status"] == "succeeded", what="the mail is proven")

    assert len(harness.sandbox.requests("sendgrid")) == 1
    accounted(harness, [job])


@long
def test_poison_ends_alone(harness: Harness, accounted: Accounted) -> None:
    """One job kills every worker that runs it; a hundred others are there at the same time."""
    harness.sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.1}])
    innocent = [harness.charge(n=n) for n in range(50)]
    poisonous = harness.charge(customer="poison")
    innocent += [harness.charge(n=n) for n in range(50, 100)]
    env = {"INSIDE_POISON": "poison", "FERRYMAN_LEASE_SECONDS": "1", "FERRYMAN_CONCURRENCY": "12"}

    crashes = kept_alive(harness, [*innocent, poisonous], **env)

    job = harness.job(poisonous)
    assert (job["status"], job["error"]["code"]) == ("failed", "poison")
    assert harness.all_ended(innocent) == {"succeeded": 100}
    # One to become a suspect, and three on its own; one more where another was run first.
    assert 3 <= crashes <= 6
    accounted(harness, [*innocent, poisonous])


def kept_alive(harness: Harness, jobs: list[UUID], **env: str) -> int:
    """Keep a worker running until all jobs have ended; how many died."""
    worker, crashes = wrong_worker(harness, **env), 0

    def done() -> bool:
        nonlocal worker, crashes
        if worker.poll() is not None:
            worker, crashes = wrong_worker(harness, wait=False, **env), crashes + 1
        return set(statuses(harness, jobs)) <= set(ENDED)

    until(done, 60, what="all jobs have ended")
    return crashes


def statuses(harness: Harness, jobs: list[UUID]) -> list[str]:
    found = harness.rows("SELECT DISTINCT status FROM ferryman.jobs WHERE id = ANY(%s)", (jobs,))
    return [row["status"] for row in found]


@long
def test_sigterm_under_load_leaves_what_was_sent_to_its_doubt(
    harness: Harness, accounted: Accounted
) -> None:
    """The grace ends before the vendor has answered."""
    slow = {"do": "latency", "seconds": 6.5, "when": {"first": 6}}
    harness.sandbox.script([{**CHARGES, **slow}, {**MAILS, **slow}])
    worker = harness.worker(FERRYMAN_GRACE_SECONDS="0.5", FERRYMAN_CONCURRENCY="6")
    charges = [harness.charge(n=n) for n in range(20)]
    mails = [mail(harness, n) for n in range(20)]
    until(lambda: len(harness.rows("SELECT FROM ferryman.sends WHERE answered_at IS NULL")) >= 3)

    begun = time.monotonic()
    assert harness.stop(worker) == 0
    assert time.monotonic() - begun < 5

    assert "running" not in statuses(harness, charges + mails)
    assert harness.rows("SELECT FROM ferryman.attempts WHERE outcome = 'lease_lost'") == []
    harness.worker()
    assert harness.all_ended(charges) == {"succeeded": 20}
    assert set(harness.all_ended(mails)) <= {"succeeded", "unknown"}
    accounted(harness, charges + mails)


@long
def test_clocks_that_are_minutes_wrong_move_nothing(harness: Harness, accounted: Accounted) -> None:
    """Only PostgreSQL's clock tells who holds a lease and what is due."""
    harness.sandbox.script(
        [
            {**CHARGES, "do": "latency", "seconds": 0.3},
            {**CHARGES, "do": "status", "status": 503, "when": {"every": 5}},
        ]
    )
    fast = wrong_worker(harness, wait=False, INSIDE_CLOCK="300", **PATIENT)
    slow = wrong_worker(harness, INSIDE_CLOCK="-300", **PATIENT)
    until(lambda: workers(harness) == 2)
    later = harness.row("SELECT now() + interval '3 s' AS at")["at"]
    jobs = [harness.charge(n=n) for n in range(40)]
    planned = harness.enqueue(
        "charge",
        {"customer": "u", "amount": 100, "currency": "usd", "payment_method": "pm_card_visa"},
        run_at=later,
    )

    assert harness.all_ended([*jobs, planned]) == {"succeeded": 41}

    attempt = harness.attempts(planned)[0]
    assert 0 <= (attempt["started_at"] - later).total_seconds() < 2
    assert harness.rows("SELECT FROM ferryman.attempts WHERE outcome = 'lease_lost'") == []
    ran = harness.rows("SELECT DISTINCT worker FROM ferryman.attempts")
    assert len(ran) == 2
    assert [process.poll() for process in (fast, slow)] == [None, None]
    accounted(harness, [*jobs, planned])


@long
@pytest.mark.parametrize("minutes_off", [-5, 5])
def test_a_date_to_come_back_at_is_read_by_the_vendors_own_clock(
    harness: Harness, minutes_off: int, accounted: Accounted
) -> None:
    throttle = {"do": "throttle", "retry_after": 3, "as_date": True}
    harness.sandbox.script([{**MAILS, **throttle, "when": {"nth": [1]}}])
    wrong_worker(harness, INSIDE_CLOCK=str(60 * minutes_off))
    job = mail(harness)

    assert harness.ended(job, seconds=10)["status"] == "succeeded"

    first, second = [request["at"] for request in harness.sandbox.requests("sendgrid")]
    # Both headers have whole seconds.
    assert 2 <= second - first < 6
    accounted(harness, [job])
