"""Cancels that come at any moment, and workers that die while they look an effect up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest

from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import CHARGES, MAILS, PATIENT, mail, outcomes, settled
from tests.harness import Harness, until

LOOKS = {"vendor": "stripe", "method": "GET", "path": "/v1/payment_intents*"}


@pytest.fixture
def looking(harness: Harness) -> Harness:
    """What is in doubt is looked up soon."""
    harness.env |= {**PATIENT, "FERRYMAN_LOOK_UP_SECONDS": "1"}
    return harness


@long
def test_two_hundred_cancels_at_random_moments(
    looking: Harness, scale: Scale, accounted: Accounted
) -> None:
    """Each job ends as cancelled and without effect, or as succeeded with one."""
    bad = [
        {"do": "latency", "seconds": 0.2},
        {"do": "drop_after", "when": {"probability": 0.1}},
        {"do": "status", "status": 503, "when": {"probability": 0.1}},
    ]
    looking.sandbox.script([{**where, **fault} for where in (CHARGES, MAILS) for fault in bad])
    url = looking.api()
    for _ in range(2):
        looking.worker(FERRYMAN_CONCURRENCY="6")
    jobs = [
        looking.charge(n=n, customer="u") if n % 4 else mail(looking, n)
        for n in range(scale(200, 600))
    ]

    answers = cancelled(url, jobs, scale)

    ends = settled(looking, jobs)
    assert set(ends) <= {"cancelled", "succeeded", "unknown"}
    assert min(ends["cancelled"], ends["succeeded"]) > 10
    # Nobody but a person can tell of a mail whose answer was lost.
    unknown = looking.rows("SELECT DISTINCT kind FROM ferryman.jobs WHERE status = 'unknown'")
    assert unknown in ([], [{"kind": "send_email"}])
    told = [job for job, status in answers.items() if status == 200]
    assert {looking.job(job)["status"] for job in told} == {"cancelled"}
    assert set(answers.values()) <= {200, 202, 409}
    accounted(looking, jobs)


def cancelled(url: str, jobs: list[UUID], scale: Scale) -> dict[UUID, int]:
    """Ask for a cancel of each, in any order, and over as long as they run; what was answered."""
    pauses = {job: scale.random.uniform(0, len(jobs) / 40) for job in jobs}
    begun = time.monotonic()

    def cancel(job: UUID) -> int:
        time.sleep(max(0.0, begun + pauses[job] - time.monotonic()))
        return httpx.post(f"{url}/v1/jobs/{job}/cancel", json={}).status_code

    order = sorted(jobs, key=lambda job: pauses[job])
    with ThreadPoolExecutor(4) as threads:
        return dict(zip(order, threads.map(cancel, order), strict=True))


@long
def test_killed_while_it_looks_up_whether_a_charge_was_made(
    looking: Harness, accounted: Accounted
) -> None:
    """The doubt is sticky: a look-up that died proves nothing, and nothing is sent again."""
    in_doubt(looking)
    looking.sandbox.script(
        [{**LOOKS, "do": "latency", "seconds": 5, "when": {"nth": [1]}}], append=True
    )
    first = looking.worker()
    job = looking.charge()
    until(lambda: looking_up(looking, job), what="it is looked up")

    looking.kill(first)
    looking.worker()

    until(lambda: looking.job(job)["status"] == "succeeded", what="it was found")
    assert outcomes(looking, job) == ["retry", "unknown", "lease_lost", "succeeded"]
    posts = [r for r in looking.sandbox.requests("stripe") if r["path"] == CHARGES["path"]]
    assert len([r for r in posts if r["method"] == "POST"]) == 2
    accounted(looking, [job])


def in_doubt(harness: Harness) -> None:
    """The first charge takes effect and is not answered; its repeat is refused unseen."""
    harness.sandbox.script(
        [
            {**CHARGES, "do": "drop_after", "when": {"nth": [1]}},
            {
                **CHARGES,
                "do": "status",
                "status": 404,
                "body": {"error": {"type": "invalid_request_error", "code": "resource_missing"}},
                "when": {"nth": [2]},
            },
        ]
    )


def looking_up(harness: Harness, job: UUID) -> bool:
    query = "SELECT FROM ferryman.jobs WHERE id = %s AND status = 'running' AND looking"
    asked = [r for r in harness.sandbox.requests("stripe") if r["method"] == "GET"]
    return bool(asked and harness.rows(query, (job,)))


@long
def test_a_look_up_that_is_cut_throttled_or_slow_is_made_again(
    looking: Harness, accounted: Accounted
) -> None:
    in_doubt(looking)
    looking.sandbox.script(
        [
            {**LOOKS, "do": "drop_before", "when": {"nth": [1]}},
            {**LOOKS, "do": "throttle", "retry_after": 1, "when": {"nth": [2]}},
            {**LOOKS, "do": "garble", "when": {"nth": [3]}},
        ],
        append=True,
    )
    looking.worker()
    job = looking.charge()

    assert settled(looking, [job]) == {"succeeded": 1}
    accounted(looking, [job])
