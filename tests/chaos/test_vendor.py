"""A vendor that acts and does not tell, tells late, too much, or something else than before."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import pytest

from models import refunds
from tests.asked import small
from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import (
    CHARGES,
    MAILS,
    PATIENT,
    PAYPAL_CHARGES,
    PAYPAL_REFUNDS,
    REFUNDS,
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
from tests.gate import gate
from tests.harness import STRIPE_KEY, Harness, until
from tests.tasks.driver import driving
from tests.worker.test_execution import CHARGE, stripe

BANKS = (Harness.charge, paypal)


@pytest.mark.parametrize("reset", [False, pytest.param(True, marks=long)], ids=["closed", "reset"])
def test_cut_after_the_effect(harness: Harness, reset: bool, accounted: Accounted) -> None:
    """A charge is repeated under its key; a mail has none, so it is not."""
    cut = {"do": "drop_after", "reset": reset, "when": {"first": 5}}
    places = (CHARGES, PAYPAL_CHARGES, MAILS)
    both_banks(harness).sandbox.script([{**place, **cut} for place in places])
    harness.worker()
    charges = [pay(harness, n) for n in range(10) for pay in BANKS]
    mails = [mail(harness, n) for n in range(10)]

    assert harness.all_ended(charges) == {"succeeded": 20}
    assert harness.all_ended(mails) == {"succeeded": 5, "unknown": 5}
    assert len(harness.sandbox.effects(vendor="sendgrid")) == 10
    assert len(harness.sandbox.requests("sendgrid")) == 10
    accounted(harness, charges + mails)


@long
def test_silence_after_the_effect(harness: Harness, accounted: Accounted) -> None:
    silent = {"do": "silent_after", "when": {"first": 3}}
    places = (CHARGES, PAYPAL_CHARGES, MAILS)
    both_banks(harness).sandbox.script([{**place, **silent} for place in places])
    wrong_worker(harness, INSIDE_TIMEOUT="1")
    charges = [pay(harness, n) for n in range(6) for pay in BANKS]
    mails = [mail(harness, n) for n in range(6)]

    assert harness.all_ended(charges) == {"succeeded": 12}
    assert harness.all_ended(mails) == {"succeeded": 3, "unknown": 3}
    errors = {row["error"]["code"] for row in harness.rows(UNKNOWN)}
    assert errors == {"timeout"}
    accounted(harness, charges + mails)


UNKNOWN = "SELECT error FROM ferryman.jobs WHERE status = 'unknown'"


@long
def test_a_cut_on_a_connection_that_was_used_before_is_sent_again_by_nobody_else(
    harness: Harness, accounted: Accounted
) -> None:
    """HTTP libraries like to repeat what a kept connection lost; only the ledger may."""
    harness.worker(FERRYMAN_CONCURRENCY="1", FERRYMAN_BACKOFF_SECONDS="1")
    first = harness.charge(n=1)
    assert harness.ended(first)["status"] == "succeeded"
    harness.sandbox.script([{**CHARGES, "do": "drop_after", "when": {"nth": [1]}}])
    second = harness.charge(n=2)

    assert harness.ended(second)["status"] == "succeeded"

    seen = [r for r in harness.sandbox.requests("stripe") if str(second) in (r["key"] or "")]
    assert [request["status"] for request in seen] == [None, 200]
    assert seen[1]["at"] - seen[0]["at"] > 0.4
    assert outcomes(harness, second) == ["retry", "succeeded"]
    accounted(harness, [first, second])


def test_an_object_whose_answer_was_cut_is_written_once(
    harness: Harness, s3_server: str, accounted: Accounted
) -> None:
    with gate(s3_server) as (url, vendor):
        bucket(harness, s3_server)
        harness.env["S3_BASE_URL"] = url
        vendor.lose(small)
        harness.worker()
        job = sync(harness, 1, files=3)

        assert harness.ended(job)["status"] == "succeeded"
        assert synced(harness, s3_server)
        # The next attempt saw that it is there already.
        assert sorted(vendor.whole.values()) == [1, 1, 1]
        parts = harness.rows("SELECT id FROM ferryman.jobs WHERE kind = 'sync_objects_part'")
        assert [outcomes(harness, part["id"]) for part in parts] == [["retry", "succeeded"]]
        accounted(harness, [job])


AFTERWARDS: dict[str, dict[str, Any]] = {
    "throttled": {"do": "throttle", "retry_after": 1},
    "refused": {"do": "status", "status": 404},
    "unauthorized": {"do": "status", "status": 401},
    "in conflict": {"do": "status", "status": 409},
    "down": {"do": "status", "status": 503},
}
RARELY = ("refused", "unauthorized", "in conflict")
# The words that each vendor has for it.
WORDS: dict[tuple[str, str], Any] = {
    # Stripe refuses some requests before it looks at their key.
    ("stripe", "refused"): {"error": {"type": "invalid_request_error", "code": "resource_missing"}},
    ("stripe", "in conflict"): {
        "error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}
    },
    ("paypal", "in conflict"): {
        "name": "RESOURCE_CONFLICT",
        "details": [{"issue": "PREVIOUS_REQUEST_IN_PROGRESS"}],
    },
}


@long
@pytest.mark.parametrize(
    "then", ["throttled", "down", *(pytest.param(then, marks=long) for then in RARELY)]
)
def test_what_a_vendor_says_while_an_earlier_request_is_in_doubt(
    harness: Harness, then: str, accounted: Accounted
) -> None:
    """None of it is an answer about the effect, which is there."""
    rules: list[dict[str, Any]] = []
    for place in (CHARGES, {**PAYPAL_CHARGES, "path": "/v2/checkout/orders/*/capture"}):
        body = WORDS.get((place["vendor"], then))
        said = AFTERWARDS[then] | ({"body": body} if body else {})
        rules.append({**place, "do": "drop_after", "when": {"nth": [1]}})
        rules.append({**place, **said, "when": {"nth": [2]}})
    both_banks(harness).sandbox.script(rules)
    harness.worker(FERRYMAN_LOOK_UP_SECONDS="0.5")
    jobs = [pay(harness) for pay in BANKS]

    def ended() -> bool:
        # A person mended the credential, and lifts the pause.
        harness.connection.execute(RESUME)
        harness.connection.execute(HURRY)
        return {harness.job(job)["status"] for job in jobs} == {"succeeded"}

    until(ended, what="both jobs have succeeded")

    for vendor in ("stripe", "paypal"):
        assert len(harness.sandbox.effects(vendor=vendor, kind="charge")) == 1
    assert [rule["fired"] for rule in harness.sandbox.faults()] == [1, 1, 1, 1]
    accounted(harness, jobs)


RESUME = """
UPDATE ferryman.vendor_states SET paused_at = NULL, paused_by = NULL, pause_note = NULL,
       pause_fingerprint = NULL WHERE paused_at IS NOT NULL
"""
HURRY = """
UPDATE ferryman.jobs SET run_at = now()
 WHERE status = 'waiting' AND run_at > now() + interval '10 s'
"""


@long
def test_an_answer_without_end_and_a_gigantic_one(harness: Harness, accounted: Accounted) -> None:
    """Neither is read to its end, and none is kept in memory."""
    with endless() as url:
        worker = wrong_worker(
            harness, STRIPE_BASE_URL=url, INSIDE_TIMEOUT="5", FERRYMAN_BACKOFF_SECONDS="1", **FEW
        )
        before = memory(worker.pid)
        jobs = [harness.charge(n=n, customer="u") for n in range(4)]
        until(lambda: harness.rows(RETRIED), what="an answer was given up")
        assert memory(worker.pid) - before < 60
        harness.kill(worker)
    harness.sandbox.script(
        [{**CHARGES, "do": "garble", "body": "x" * 6_000_000, "when": {"first": 2}}]
    )
    harness.worker(**PATIENT)

    assert harness.all_ended(jobs, seconds=40) == {"succeeded": 4}
    told = harness.rows("SELECT max(length(response::text)) AS n FROM ferryman.interactions")
    assert told[0]["n"] < 1_000_000
    accounted(harness, jobs)


FEW = {"FERRYMAN_BREAKER_FAIL_MAX": "1000", "FERRYMAN_MAX_ATTEMPTS": "50"}
RETRIED = "SELECT FROM ferryman.attempts WHERE outcome = 'retry'"


def memory(pid: int) -> float:
    """What a process holds, in MiB."""
    with open(f"/proc/{pid}/statm") as pages:
        return int(pages.read().split()[1]) * 4096 / 2**20


@contextmanager
def endless() -> Iterator[str]:
    """A server that answers 200 to everything, with a body that has no end."""
    listening = socket.create_server(("127.0.0.1", 0))
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    def answer(line: socket.socket) -> None:
        with suppress(OSError), line:
            line.recv(65_536)
            line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                line.sendall(chunk)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


@long
def test_retry_after_is_honoured_to_the_second(harness: Harness, accounted: Accounted) -> None:
    """In seconds and as a date, of a throttle and of a failure."""
    harness.sandbox.script(
        [
            {**CHARGES, "do": "throttle", "retry_after": 3, "when": {"nth": [1]}},
            {
                **MAILS,
                "do": "throttle",
                "retry_after": 4,
                "as_date": True,
                "when": {"nth": [1]},
            },
        ]
    )
    harness.worker()
    jobs = [harness.charge(), mail(harness)]

    assert harness.all_ended(jobs) == {"succeeded": 2}

    assert 3 <= pause(harness, "stripe", "/v1/payment_intents") < 5
    # A date has whole seconds only.
    assert 3 <= pause(harness, "sendgrid", "/v3/mail/send") < 6
    accounted(harness, jobs)


def pause(harness: Harness, vendor: str, path: str) -> float:
    """Seconds between the first two requests to that place, as the vendor saw them."""
    first, second = [r["at"] for r in harness.sandbox.requests(vendor) if r["path"] == path]
    return float(second - first)


@long
def test_many_refunds_at_once_give_back_no_more_than_was_paid(
    harness: Harness, scale: Scale, accounted: Accounted
) -> None:
    harness.sandbox.script(
        [
            {**place, **fault}
            for place in (REFUNDS, PAYPAL_REFUNDS)
            for fault in (
                {"do": "latency", "seconds": 0.3},
                {"do": "drop_after", "when": {"probability": 0.2}},
                {"do": "status", "status": 503, "when": {"probability": 0.2}},
            )
        ]
    )
    for _ in range(2):
        both_banks(harness).worker(**PATIENT)
    charges = [pay(harness, n, amount=1000) for n in range(scale(1, 5)) for pay in BANKS]
    assert set(harness.all_ended(charges)) == {"succeeded"}

    asked = scale(16, 25)
    refunds = {charge: [refund(harness, charge, 100) for _ in range(asked)] for charge in charges}

    for charge, jobs in refunds.items():
        assert harness.all_ended(jobs) == {"succeeded": 10, "failed": asked - 10}
        assert codes(harness, jobs) == {"amount_exceeds_rest"}
        row = harness.row("SELECT * FROM ferryman.charges WHERE id = %s", (charge,))
        assert (row["refunded"], row["reserved"]) == (1000, 0)
    given_back = harness.sandbox.effects(kind="refund")
    assert sum(effect["amount"] for effect in given_back) == 1000 * len(charges)
    accounted(harness, [*charges, *(job for jobs in refunds.values() for job in jobs)])


def codes(harness: Harness, jobs: list[UUID]) -> set[str]:
    query = "SELECT error FROM ferryman.jobs WHERE id = ANY(%s) AND status = 'failed'"
    return {row["error"]["code"] for row in harness.rows(query, (jobs,))}


async def test_a_refund_that_meets_its_charge_in_the_act(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement sees what was committed before it: a charge may come in between two."""
    monkeypatch.setenv("STRIPE_SECRET_KEY", STRIPE_KEY)
    reserve = refunds.reserve
    async with driving(ledger_url, stripe) as driver:
        charge = await driver.enqueue("charge", CHARGE)
        asked = await driver.enqueue("refund", {"charge": str(charge)})

        async def late(*given: Any) -> Any:
            found = await reserve(*given)
            if found is None:
                await driver.run(charge)
            return found

        monkeypatch.setattr(refunds, "reserve", late)
        job = await driver.run(asked)

        assert job["status"] in ("succeeded", "waiting"), job["error"]
        monkeypatch.setattr(refunds, "reserve", reserve)
        again = job if job["status"] == "succeeded" else await driver.run(asked)
        assert again["status"] == "succeeded"
