"""What failed or is in doubt is mended: by a look-up and a new key, by a person, by a cancel."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from tests.harness import Harness, until

CHARGES = {"vendor": "stripe", "path": "/v1/payment_intents", "method": "POST"}


def keys(harness: Harness, job_id: UUID) -> list[str]:
    """The vendor keys under which the job's charge was asked for, in order."""
    rows = harness.rows(
        "SELECT vendor_key FROM ferryman.sends WHERE job_id = %s AND step = 'charge'"
        " ORDER BY attempt",
        (job_id,),
    )
    return [row["vendor_key"] for row in rows]


def effects(harness: Harness) -> int:
    return len(harness.sandbox.effects(vendor="stripe", kind="charge"))


def unknown(harness: Harness, job_id: UUID) -> None:
    until(lambda: harness.job(job_id)["status"] == "unknown", what="the job is unknown")


def succeeded(harness: Harness, job_id: UUID) -> dict[str, Any]:
    until(lambda: harness.job(job_id)["status"] == "succeeded", what="the job has succeeded")
    return harness.job(job_id)


def test_a_failure_that_the_vendor_keeps_is_escaped_once_absence_is_proven(
    harness: Harness,
) -> None:
    harness.sandbox.script([{**CHARGES, "do": "error_before", "when": {"nth": [1]}}])
    harness.worker()
    job_id = harness.charge()

    succeeded(harness, job_id)

    assert effects(harness) == 1
    assert keys(harness, job_id) == [f"{job_id}:charge"] * 2 + [f"{job_id}:charge:1"]
    outcomes = [a["outcome"] for a in harness.attempts(job_id)]
    assert outcomes == ["retry", "unknown", "absent", "succeeded"]


def test_a_kept_failure_that_had_its_effect_is_found(harness: Harness) -> None:
    harness.sandbox.script([{**CHARGES, "do": "error_after", "when": {"nth": [1]}}])
    harness.worker()
    job_id = harness.charge()

    job = succeeded(harness, job_id)

    assert effects(harness) == 1
    (effect,) = harness.sandbox.effects(vendor="stripe", kind="charge")
    assert effect["job"] == str(job_id)
    assert job["result"]["status"] == "succeeded"


def test_beyond_the_vendor_s_memory_nothing_is_repeated(harness: Harness) -> None:
    """A day later the same key would be a second charge."""
    harness.sandbox.script([{**CHARGES, "do": "drop_after", "when": {"nth": [1]}}])
    worker = harness.worker(FERRYMAN_BACKOFF_SECONDS="2")
    job_id = harness.charge()
    until(lambda: harness.attempts(job_id) and harness.attempts(job_id)[0]["outcome"] == "retry")
    harness.sandbox.dashboard("stripe", "forget_keys")
    harness.rows("UPDATE ferryman.sends SET repeat_until = now() RETURNING job_id")

    succeeded(harness, job_id)

    assert effects(harness) == 1
    assert worker.poll() is None


def test_declined_then_mended_then_retried(harness: Harness) -> None:
    harness.sandbox.dashboard(
        "stripe", "card", payment_method="pm_card_visa", behaves_as="pm_card_chargeDeclined"
    )
    harness.worker()
    url = harness.api()
    job_id = harness.charge()
    assert harness.ended(job_id)["error"]["code"] == "card_declined"
    harness.sandbox.dashboard(
        "stripe", "card", payment_method="pm_card_visa", behaves_as="pm_card_visa"
    )

    answer = httpx.post(f"{url}/v1/jobs/{job_id}/retry", json={"note": "the card is mended"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["warning"] is None
    succeeded(harness, job_id)
    assert effects(harness) == 1
    assert keys(harness, job_id) == [f"{job_id}:charge", f"{job_id}:charge:1"]


def test_a_cancel_of_a_job_in_doubt_finds_out_what_became_of_it(harness: Harness) -> None:
    """One request had arrived, the other had not: only that one is cancelled."""
    harness.sandbox.script(
        [
            {**CHARGES, "do": "drop_after", "when": {"nth": [1]}},
            {**CHARGES, "do": "drop_before", "when": {"nth": [2]}},
        ]
    )
    harness.worker(FERRYMAN_BACKOFF_SECONDS="60", FERRYMAN_CONCURRENCY="1")
    url = harness.api()
    jobs = [harness.charge(n=0), harness.charge(n=0)]
    for job_id in jobs:
        until(lambda job_id=job_id: harness.job(job_id)["reason"] is not None)

    answers = [httpx.post(f"{url}/v1/jobs/{job_id}/cancel") for job_id in jobs]

    assert [answer.status_code for answer in answers] == [202, 202]
    for job_id in jobs:
        until(lambda job_id=job_id: harness.job(job_id)["finished_at"], what="it has ended")
    fates = {harness.job(job_id)["status"] for job_id in jobs}
    assert fates == {"succeeded", "cancelled"}
    (effect,) = harness.sandbox.effects(vendor="stripe", kind="charge")
    assert harness.job(UUID(effect["job"]))["status"] == "succeeded"
