"""What a vendor tells after a job has ended, before it has, or about something else: recorded,
flagged and counted where it is true, and without consequence where it is not."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from adapters._base import Event
from ferryman.policies import policies
from ferryman.testing import Sandbox
from models import events
from models.events import Received
from tasks import _inbox, _settle
from tests.conftest import Servers, _database
from tests.money.bank import PURSES, Bank
from tests.money.books import Truth, arrives_late, explain, look, shared, wipe
from worker.verdict import LeaseLost

pytestmark = pytest.mark.asyncio(loop_scope="module")

Row = dict[str, Any]

STRIPE = pytest.mark.parametrize(
    "opened", PURSES[:1], indirect=True, ids=["stripe"], scope="module"
)
PAYPAL = pytest.mark.parametrize(
    "opened", PURSES[1:], indirect=True, ids=["paypal"], scope="module"
)
MONEY = {"stripe": "/v1/payment_intents", "paypal": "/v2/checkout/orders/*/capture"}
REFUNDS = {"stripe": "/v1/refunds", "paypal": "/v2/payments/captures/*/refund"}
HELD = {"stripe": "/v1/payment_intents", "paypal": "/v2/payments/authorizations"}
STEPS = {
    "charge": MONEY,
    "refund": REFUNDS,
    "capture": {vendor: f"{path}/*/capture" for vendor, path in HELD.items()},
    "cancel": {"stripe": f"{HELD['stripe']}/*/cancel", "paypal": f"{HELD['paypal']}/*/void"},
}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=PURSES, ids=lambda purse: purse.vendor
)
async def opened(
    request: pytest.FixtureRequest, servers: Servers, _template: str, _sandbox: Sandbox
) -> AsyncIterator[Bank]:
    """One ledger for all tests of a vendor."""
    for url in _database(servers, _template):
        async with shared(request.param, url, _sandbox) as bank:
            yield bank


@pytest_asyncio.fixture(loop_scope="module")
async def bank(opened: Bank) -> Bank:
    await wipe(opened)
    return opened


# --- the parts


async def lost(bank: Bank, job: UUID, step: str = "charge", do: str = "drop_after") -> None:
    """An attempt whose request is lost on its way, or its answer."""
    place = {"vendor": bank.vendor, "method": "POST", "path": STEPS[step][bank.vendor]}
    bank.sandbox.script([{**place, "do": do, "times": 1}])
    await bank.run(job)
    assert [rule["fired"] for rule in bank.sandbox.faults()] == [1]


async def in_doubt(
    bank: Bank, job: UUID, step: str = "charge", do: str = "drop_after", *, looks: bool = True
) -> None:
    """So, and beyond the vendor's memory: a worker would look it up in a minute; without `looks`,
    only a person or an event can tell."""
    await lost(bank, job, step, do)
    await bank.driver.rows("UPDATE ferryman.sends SET repeat_until = now()")
    assert (await bank.run(job))["status"] == "unknown"
    if not looks:
        await bank.driver.rows("UPDATE ferryman.jobs SET look_at = NULL WHERE id = :id", id=job)


async def resolve(bank: Bank, job: UUID, outcome: Any) -> None:
    async with bank.driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job, outcome, who="a person", note="found nothing")


async def retry(bank: Bank, job: UUID) -> None:
    async with bank.driver.ledger.transaction() as connection:
        await _settle.retry(connection, job, who="a person")


async def interventions(bank: Bank, job: UUID) -> list[str]:
    found = await bank.driver.rows(
        "SELECT action FROM ferryman.interventions WHERE job_id = :id ORDER BY id", id=job
    )
    return [row["action"] for row in found]


async def outcomes(bank: Bank) -> list[str]:
    """What came of each event, in the order in which they came."""
    found = await bank.driver.rows("SELECT outcome FROM ferryman.events ORDER BY received_at, id")
    return [row["outcome"] for row in found]


async def agree(bank: Bank) -> None:
    """The ledger and the vendor, in everything."""
    books = await look(bank)
    books.check()
    explain(books, Truth(bank.effects()), set())
    assert bank.balance() == books.balance()


def altered(event: Event, change: Callable[[Row], None]) -> Event:
    """Another event, with another object in it."""
    payload = copy.deepcopy(event.payload)
    change(payload)
    return replace(event, id=f"evt_{uuid4().hex}", payload=payload)


async def event_of(bank: Bank, type: str) -> Event:
    (found,) = [event for event in await bank.told() if event.type == type]
    return found


async def effect(bank: Bank, kind: str) -> None:
    """The vendor has acted, and not answered yet."""
    while not bank.effects(kind):  # noqa: ASYNC110 - it has no other way to tell
        await asyncio.sleep(0.01)


# The event that tells of each step.
TOLD = {
    "charge": {"stripe": "charge.succeeded", "paypal": "PAYMENT.CAPTURE.COMPLETED"},
    "refund": {"stripe": "refund.created", "paypal": "PAYMENT.CAPTURE.REFUNDED"},
    "capture": {"stripe": "charge.captured", "paypal": "PAYMENT.CAPTURE.COMPLETED"},
    "cancel": {"stripe": "payment_intent.canceled", "paypal": "PAYMENT.AUTHORIZATION.VOIDED"},
}


# --- a success after the job's end


async def used_up(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> UUID:
    policy = policies()[bank.vendor].model_copy(update={"max_attempts": 1})
    monkeypatch.setitem(policies(), bank.vendor, policy)
    job = await bank.charge(1000)
    await lost(bank, job, do="drop_before")
    assert (await bank.run(job))["error"]["code"] == "attempts_used"
    return job


async def timed_out(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """Nobody can tell, and a person takes it for failed."""
    job = await bank.charge(1000)
    await in_doubt(bank, job, do="drop_before", looks=False)
    await resolve(bank, job, "failed")
    return job


async def cancelled(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> UUID:
    job = await bank.charge(1000)
    await lost(bank, job, do="drop_before")
    assert not await bank.cancel(job)
    await bank.finish(job)
    return job


ENDS = {"failed": used_up, "failed by a person": timed_out, "cancelled": cancelled}


@pytest.mark.parametrize("end", ENDS)
async def test_a_success_after_the_end_is_recorded_flagged_and_counted(
    bank: Bank, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await ENDS[end](bank, monkeypatch)
    status = "cancelled" if end == "cancelled" else "failed"
    before = await bank.job(job_id)
    assert before["status"] == status
    assert bank.balance() == await bank.ledger_balance() == 0

    assert await arrives_late(bank, job_id, "charge")
    await bank.hear()
    await bank.hear()

    job = await bank.job(job_id)
    assert (job["status"], job["finished_at"]) == (status, before["finished_at"])
    assert job["reason"] == f"it took effect after it had ended as {status}: a person should look"
    assert (await interventions(bank, job_id))[-1] == "late proof"
    row = await bank.row(job_id)
    assert (row["status"], row["amount"]) == ("succeeded", 1000)
    await agree(bank)
    assert bank.balance() == 1000
    # It is money like any other: it can be given back.
    assert (await bank.run(await bank.refund(job_id)))["status"] == "succeeded"
    await agree(bank)


async def test_a_refund_that_was_given_up_and_succeeds_counts(bank: Bank) -> None:
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 600)
    await in_doubt(bank, refund, "refund", do="drop_before", looks=False)
    await resolve(bank, refund, "failed")
    assert (await bank.row(charge))["reserved"] == 0

    assert await arrives_late(bank, refund, "refund")
    # All seems to be left, and another is asked for: the vendor says no.
    other = await bank.run(await bank.refund(charge, 600))
    assert (other["status"], other["error"]["type"]) == ("failed", "Refused")
    await bank.hear()

    job = await bank.job(refund)
    assert (job["status"], "took effect" in job["reason"]) == ("failed", True)
    assert (await bank.row(charge))["refunded"] == 600
    await agree(bank)


ENDINGS = {
    "capture": ("capture_charge", "succeeded"),
    "cancel": ("cancel_charge", "cancelled"),
}


@pytest.mark.parametrize("step", ENDINGS)
async def test_the_end_of_a_held_charge_is_heard_of_though_its_job_was_given_up(
    bank: Bank, step: str
) -> None:
    kind, status = ENDINGS[step]
    held = await bank.charged(1000, capture=False)
    job_id = await bank.enqueue(kind, {"charge": str(held)})
    await in_doubt(bank, job_id, step, do="drop_before", looks=False)
    await resolve(bank, job_id, "failed")
    row = await bank.row(held)
    assert (row["status"], row["taken_by"]) == ("authorized", None)

    assert await arrives_late(bank, job_id, step)
    await bank.hear()

    row = await bank.row(held)
    assert (row["status"], row["taken_by"]) == (status, None)
    await agree(bank)
    later = await bank.run(await bank.enqueue("capture_charge", {"charge": str(held)}))
    assert (later["status"], later["error"]["code"]) == ("failed", f"charge_{status}")


# --- a doubt that an event ends


def without_key(payload: Row) -> None:
    payload["request"]["idempotency_key"] = None


def without_metadata(payload: Row) -> None:
    payload["data"]["object"]["metadata"] = {}


# The metadata names the job that made a charge; the one that ends its hold is named by the key.
NAMED = [(step, without_metadata) for step in STEPS] + [
    (step, without_key) for step in STEPS if step not in ENDINGS
]


@STRIPE
@pytest.mark.parametrize(("step", "change"), NAMED)
async def test_an_event_alone_ends_a_doubt(
    bank: Bank, step: str, change: Callable[[Row], None]
) -> None:
    job_id = await doubted(bank, step)
    sent = len(bank.sandbox.requests(bank.vendor))
    event = await event_of(bank, TOLD[step][bank.vendor])

    await bank.hear([altered(event, change)])

    job = await bank.job(job_id)
    assert (job["status"], job["looks"], job["look_at"]) == ("succeeded", 0, None)
    assert job["result"]["vendor_reference"]
    assert (await interventions(bank, job_id)) == ["settle"]
    # Beside the list of events nobody was asked.
    assert len(bank.sandbox.requests(bank.vendor)) == sent + 1
    await agree(bank)


async def doubted(bank: Bank, step: str, *, looks: bool = True) -> UUID:
    if step == "charge":
        job = await bank.charge(1000)
    elif step == "refund":
        job = await bank.refund(await bank.charged(1000), 400)
    else:
        held = await bank.charged(1000, capture=False)
        job = await bank.enqueue(ENDINGS[step][0], {"charge": str(held)})
    await in_doubt(bank, job, step, looks=looks)
    return job


@PAYPAL
@pytest.mark.parametrize("step", ["charge", "refund"])
async def test_an_event_that_proves_nothing_has_the_truth_read(bank: Bank, step: str) -> None:
    """Where nobody else would look any more."""
    job_id = await doubted(bank, step, looks=False)
    event = await event_of(bank, TOLD[step][bank.vendor])

    await bank.hear([event])

    job = await bank.job(job_id)
    assert (job["status"], job["looks"]) == ("succeeded", 0)
    assert [job["who"] for job in await settlers(bank, job_id)] != []
    await agree(bank)


async def settlers(bank: Bank, job: UUID) -> list[Row]:
    return await bank.driver.rows(
        "SELECT who FROM ferryman.interventions WHERE job_id = :id AND who LIKE '%read by job%'",
        id=job,
    )


@PAYPAL
async def test_a_job_that_looks_up_by_itself_is_left_to_it(bank: Bank) -> None:
    """An early look might find nothing yet; its own comes after all requests have ended."""
    job_id = await doubted(bank, "charge")
    await bank.hear()
    assert (await bank.job(job_id))["status"] == "unknown"

    assert (await bank.run(job_id))["status"] == "succeeded"
    await agree(bank)


@STRIPE
async def test_a_refusal_that_was_lost_is_told_by_the_event(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.declines)
    await in_doubt(bank, job_id)

    await bank.hear()

    job = await bank.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "card_declined")
    assert job["error"]["type"] == "Refused"
    await agree(bank)


@STRIPE
async def test_news_of_an_earlier_round_ends_no_later_one(bank: Bank) -> None:
    """The card was declined; a person sends it again, and that is in doubt."""
    job_id = await bank.charge(1000, payment_method=bank.purse.declines)
    assert (await bank.run(job_id))["status"] == "failed"
    old = await bank.told()
    bank.sandbox.dashboard("stripe", "card", payment_method=bank.purse.declines)
    await retry(bank, job_id)
    await bank.hear(old)
    assert (await bank.job(job_id))["status"] == "waiting"
    await lost(bank, job_id)

    await bank.hear([altered(event, lambda _: None) for event in old])
    assert (await bank.job(job_id))["status"] == "waiting"

    assert (await bank.run(job_id))["status"] == "succeeded"
    await bank.hear()
    await agree(bank)
    assert len(bank.effects("charge")) == 1


@STRIPE
async def test_a_second_effect_is_flagged(bank: Bank) -> None:
    """The first request was proven to have had none, and arrives after the second. (At PayPal both
    are for the same order, which is captured once.)"""
    job_id = await bank.charge(1000)
    await in_doubt(bank, job_id, do="drop_before")
    assert (await bank.run(job_id))["status"] == "waiting"
    assert (await bank.run(job_id))["status"] == "succeeded"
    first = await bank.row(job_id)
    assert await arrives_late(bank, job_id, "charge")
    await bank.hear()

    job = await bank.job(job_id)
    assert job["reason"] == "it took effect a second time: a person should look"
    assert job["status"] == "succeeded"
    assert (await interventions(bank, job_id)).count("second effect") == 1
    assert (await bank.row(job_id))["vendor_reference"] == first["vendor_reference"]


# --- an event before its job's own answer


async def test_an_event_before_the_answer_waits_for_it(bank: Bank) -> None:
    job_id = await bank.charge(1000)
    place = {"vendor": bank.vendor, "path": MONEY[bank.vendor], "method": "POST"}
    bank.sandbox.script([{**place, "do": "late", "seconds": 0.4, "times": 1}])
    running = asyncio.create_task(bank.run(job_id))
    await effect(bank, "charge")

    await bank.hear()
    assert (await bank.job(job_id))["status"] == "running"
    assert "its job runs" in await outcomes(bank)

    assert (await running)["status"] == "succeeded"
    await bank.driver.rows("UPDATE ferryman.events SET due_at = now() WHERE due_at IS NOT NULL")
    await _inbox.drain(bank.driver.ledger)
    assert set(await outcomes(bank)) <= {"known already", "nothing of ferryman's"}
    await agree(bank)


@STRIPE
async def test_patience_with_a_job_that_runs_has_an_end(bank: Bank) -> None:
    """Its worker may hang. Whatever it finds out later changes nothing."""
    job_id = await bank.charge(1000)
    place = {"vendor": bank.vendor, "path": MONEY[bank.vendor], "method": "POST"}
    bank.sandbox.script([{**place, "do": "late", "seconds": 0.6, "times": 1}])
    execution = await bank.driver.claim(job_id)
    running = asyncio.create_task(execution.perform())
    await effect(bank, "charge")
    await bank.hear()
    await bank.driver.rows(
        "UPDATE ferryman.events SET received_at = received_at - interval '2 minutes',"
        " due_at = now()"
    )

    await _inbox.drain(bank.driver.ledger)

    job = await bank.job(job_id)
    assert (job["status"], job["result"]["status"]) == ("succeeded", "succeeded")
    with pytest.raises(LeaseLost):
        await running
    assert (await bank.job(job_id))["reason"] is None
    await agree(bank)


# --- what is not true, or not ours


@STRIPE
@pytest.mark.parametrize("step", ["charge", "refund"])
async def test_another_amount_is_for_a_person(bank: Bank, step: str) -> None:
    job_id = await doubted(bank, step)
    event = await event_of(bank, TOLD[step][bank.vendor])

    def change(payload: Row) -> None:
        told = payload["data"]["object"]
        told |= {name: 399 for name in ("amount", "amount_captured") if name in told}

    await bank.hear([altered(event, change)])

    job = await bank.job(job_id)
    assert job["status"] == "unknown"
    assert "another amount" in job["reason"]
    assert await bank.ledger_balance() == (0 if step == "charge" else 1000)


def of_job(job: object) -> Callable[[Row], None]:
    def change(payload: Row) -> None:
        told = payload.get("resource") or payload["data"]["object"]
        if "request" in payload:
            payload["request"]["idempotency_key"] = f"{job}:charge"
            told["metadata"]["job"] = str(job)
        else:
            told["custom_id"] = str(job)

    return change


async def test_news_of_strangers_changes_nothing(bank: Bank) -> None:
    """Of a job that is another vendor's, of another kind, or nobody's."""
    charge = await bank.charged(1000)
    event = await event_of(bank, TOLD["charge"][bank.vendor])
    args = {"customer": "u", "amount": 1000, "currency": "usd", "payment_method": "pm_card_visa"}
    vendor = "paypal" if bank.vendor == "stripe" else "stripe"
    letter = {"to": "a@example.com", "subject": "s", "text": "t"}
    strangers = [
        await bank.driver.enqueue("charge", args, vendor=vendor),
        await bank.driver.enqueue("send_email", letter, vendor="sendgrid"),
        await bank.refund(charge),
        uuid7(),
    ]
    await bank.hear([altered(event, of_job(job)) for job in [*strangers, "no job's id", ""]])

    told = await outcomes(bank)
    assert told[:4] == ["not of ferryman"] * 4
    assert all("settled" not in one and "recorded" not in one for one in told)
    waiting = await bank.driver.rows(
        "SELECT id FROM ferryman.jobs WHERE status = 'waiting' AND kind <> 'refresh_charge'"
    )
    assert {row["id"] for row in waiting} == set(strangers[:3])
    await agree(bank)


def forged(type: str, resource: Row) -> Event:
    """Stored as if its signature had been found good: what whoever can forge a checksum can do."""
    now = datetime.now(UTC)
    payload = {"event_type": type, "create_time": now.isoformat(), "resource": resource}
    event_id = f"WH-{uuid4().hex}"
    return Event(event_id, type, now, {"id": event_id, **payload})


def resource(status: str, job: object, reference: str, **more: Any) -> Row:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    amount = {"currency_code": "USD", "value": "10.00"}
    told = {"id": reference, "status": status, "custom_id": str(job), "amount": amount}
    return {**told, "create_time": at, "update_time": at, "links": [], **more}


@PAYPAL
async def test_a_forged_event_moves_no_money(bank: Bank) -> None:
    paid = await bank.charged(1000)
    held = await bank.charged(1000, capture=False)
    asked = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(asked)
    doubt = await bank.charge(1000)
    await in_doubt(bank, doubt, do="drop_before", looks=False)
    before = {job: await bank.row(job) for job in (paid, held, asked)}
    capture, hold = (before[job]["vendor_reference"] for job in (paid, held))
    up = {"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{capture}"}
    dispute = {"disputed_transactions": [{"seller_transaction_id": capture}], "status": "OPEN"}

    await bank.hear(
        [
            forged("PAYMENT.CAPTURE.COMPLETED", resource("COMPLETED", asked, "0" * 17)),
            forged("PAYMENT.CAPTURE.COMPLETED", resource("COMPLETED", doubt, "0" * 17)),
            forged("PAYMENT.CAPTURE.COMPLETED", resource("COMPLETED", held, "0" * 17)),
            forged("PAYMENT.CAPTURE.DECLINED", resource("DECLINED", doubt, "0" * 17)),
            forged("PAYMENT.AUTHORIZATION.VOIDED", resource("VOIDED", held, hold)),
            forged("PAYMENT.CAPTURE.REFUNDED", resource("COMPLETED", "", "1" * 17, links=[up])),
            forged("PAYMENT.REFUND.FAILED", resource("FAILED", paid, "1" * 17, links=[up])),
            forged("CUSTOMER.DISPUTE.CREATED", dispute),
        ]
    )

    assert (await bank.run(asked))["status"] == "waiting"
    assert (await bank.job(doubt))["status"] == "unknown"
    for charge, row in before.items():
        assert await bank.row(charge) == row
    assert (await look(bank)).refunds == []
    assert "took" not in " ".join(await outcomes(bank))


# --- once, by whatever way it comes


async def test_an_event_is_one_row_by_whatever_way_it_comes(bank: Bank) -> None:
    job_id = await doubted(bank, "charge", looks=bank.vendor == "stripe")
    told = await bank.told()

    async def arrives(event: Event, via: str) -> None:
        row = Received(uuid7(), bank.vendor, event.id, event.type, event.at, event.payload, via)
        async with bank.driver.ledger.transaction() as connection:
            await events.store(connection, [row])

    await asyncio.gather(*(arrives(event, "webhook") for event in told for _ in range(10)))
    poll = await bank.enqueue("poll_events", {"since_seconds": 600})
    first = await bank.run(poll)
    await asyncio.gather(*(_inbox.drain(bank.driver.ledger) for _ in range(4)))
    await bank.read_again()
    second = await bank.run(await bank.enqueue("poll_events", {}))

    assert (first["result"]["seen"], first["result"]["new"]) == (len(told), 0)
    assert second["result"]["new"] == 0
    rows = await bank.driver.rows("SELECT event_id, via, handled_at FROM ferryman.events")
    assert {row["event_id"] for row in rows} == {event.id for event in told}
    assert len(rows) == len(told)
    assert all(row["handled_at"] for row in rows)
    job = await bank.job(job_id)
    assert job["status"] == "succeeded"
    assert (await interventions(bank, job_id)) == ["settle"]
    await agree(bank)


async def test_a_poll_brings_what_no_webhook_did(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 300)

    poll = await bank.run(await bank.enqueue("poll_events", {"since_seconds": 600}))
    assert poll["result"]["new"] == poll["result"]["seen"] > 0
    await _inbox.drain(bank.driver.ledger)
    await bank.read_again()

    assert (await bank.row(charge))["refunded"] == 300
    await agree(bank)
