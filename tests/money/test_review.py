"""What a review found by reading: orders of things that no course of the machine had met."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Event, adapter
from ferryman.policies import policies
from models import events as ledger
from models import workers
from models.events import Received
from models.settle import Filters
from tasks import _inbox, _settle
from tasks._settle import looks
from tests.money.bank import PURSES, Bank
from worker.breakers import Breakers

STRIPE = pytest.mark.parametrize("bank", PURSES[:1], indirect=True, ids=["stripe"])
PAYPAL = pytest.mark.parametrize("bank", PURSES[1:], indirect=True, ids=["paypal"])

POSTS = {
    ("stripe", "charge"): "/v1/payment_intents",
    ("stripe", "refund"): "/v1/refunds",
    ("paypal", "charge"): "/v2/checkout/orders/*/capture",
    ("paypal", "refund"): "/v2/payments/captures/*",
}


def lose(bank: Bank, kind: str, **more: Any) -> None:
    """The next answer to a request of that kind is lost; its effect is there."""
    path = POSTS[bank.vendor, kind]
    rule = {"vendor": bank.vendor, "method": "POST", "path": path, "do": "drop_after", "times": 1}
    bank.sandbox.script([rule | more])


async def doubtful(bank: Bank, job_id: UUID, kind: str, **more: Any) -> dict[str, Any]:
    """The answer is lost, and so long ago that no key means anything any more: for a look-up."""
    lose(bank, kind, **more)
    await bank.run(job_id)
    bank.sandbox.dashboard(bank.vendor, "forget_keys")
    await bank.driver.rows("UPDATE ferryman.sends SET repeat_until = now() WHERE repeat = 'key'")
    return await bank.run(job_id)


async def resolve(bank: Bank, job_id: UUID, outcome: Literal["succeeded", "failed"]) -> None:
    async with bank.driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, outcome, who="a test", note="seen")


async def retry(bank: Bank, job_id: UUID) -> None:
    async with bank.driver.ledger.transaction() as connection:
        await _settle.retry(connection, job_id, who="a test")


async def told(bank: Bank, chosen: Callable[[Event], bool]) -> list[Event]:
    return [event for event in await bank.told() if chosen(event)]


# --- sent again although it is known to have had its effect


async def test_a_charge_that_was_taken_late_is_not_taken_again(bank: Bank) -> None:
    """A person was wrong; the vendor's event has said so; another person sends it again."""
    job_id = await bank.charge(1000)
    assert (await doubtful(bank, job_id, "charge"))["status"] == "unknown"
    await resolve(bank, job_id, "failed")
    await bank.hear()
    assert (await bank.row(job_id))["status"] == "succeeded"

    with suppress(_settle.NotAllowed):
        await retry(bank, job_id)
        await bank.finish(job_id)

    assert len(bank.effects("charge")) == 1
    assert bank.balance() == await bank.ledger_balance() == 1000


async def test_a_bulk_retry_leaves_what_was_taken_late(bank: Bank) -> None:
    job_id = await bank.charge(1000)
    await doubtful(bank, job_id, "charge")
    await resolve(bank, job_id, "failed")
    await bank.hear()

    async with bank.driver.ledger.transaction() as connection:
        await _settle.retry_failed(connection, Filters(kind="charge"), who="a test")
    await bank.finish(job_id)

    assert len(bank.effects("charge")) == 1
    assert bank.balance() == await bank.ledger_balance() == 1000


async def test_a_refund_that_was_made_late_is_not_made_again(bank: Bank) -> None:
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 300)
    assert (await doubtful(bank, refund, "refund"))["status"] == "unknown"
    await resolve(bank, refund, "failed")
    await bank.hear()
    assert (await bank.row(charge))["refunded"] == 300

    with suppress(_settle.NotAllowed):
        await retry(bank, refund)
        await bank.finish(refund)

    assert len(bank.effects("refund")) == 1
    assert bank.balance() == await bank.ledger_balance() == 700


@STRIPE
async def test_a_pending_job_whose_row_went_on_charges_nothing(bank: Bank) -> None:
    """A person refunds what a payer has paid, and that is heard before the payment itself."""
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    row = await bank.row(job_id)
    bank.approve(row)
    bank.give_back(row, 400)
    await bank.hear(await told(bank, lambda event: event.type.startswith("refund.")))
    bank.sandbox.dashboard("stripe", "forget_keys")  # a day later

    await bank.run(job_id)
    await bank.hear()

    made = [seen for seen in bank.sandbox.requests("stripe") if seen["key"]]
    assert [seen["path"] for seen in made].count("/v1/payment_intents") == 1
    assert (await bank.job(job_id))["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 600


# --- two refunds of one job


@PAYPAL
async def test_a_refund_sent_again_is_not_undone_by_the_one_that_had_failed(bank: Bank) -> None:
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 400)
    bank.refunds_may_fail()
    lose(bank, "refund")
    await bank.run(refund)
    (event,) = await told(bank, lambda event: event.type == "PAYMENT.REFUND.PENDING")
    bank.fail_refund(event.payload["resource"]["id"])
    assert (await bank.finish(refund))["error"]["code"] == "refund_failed"
    await retry(bank, refund)
    assert (await bank.finish(refund))["status"] == "succeeded"
    await bank.hear()
    known = {event.id for event in await bank.told()}
    bank.give_back(await bank.row(charge), 100)

    await bank.hear(await told(bank, lambda event: event.id not in known))

    assert (await bank.job(refund))["shown"]["status"] == "succeeded"
    assert (await bank.row(charge))["refunded"] == 500
    assert bank.balance() == await bank.ledger_balance() == 500


@STRIPE
async def test_a_second_refund_is_not_undone_by_events_of_the_first(bank: Bank) -> None:
    """Its answer was lost, it failed, the look-up found none; its events come at last."""
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 400)
    await doubtful(bank, refund, "refund")
    bank.fail_refund(bank.effects("refund")[0]["reference"])
    assert (await bank.finish(refund))["status"] == "succeeded"

    await bank.hear()

    assert (await bank.job(refund))["shown"]["status"] == "succeeded"
    assert (await bank.row(charge))["refunded"] == 400
    assert bank.balance() == await bank.ledger_balance() == 600


@STRIPE
async def test_an_old_event_of_a_failed_refund_does_not_end_the_next_try(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.sandbox.dashboard(
        "stripe", "card", payment_method=bank.purse.pays, behaves_as="pm_card_pendingRefund"
    )
    refund = await bank.refund(charge, 400)
    lose(bank, "refund")
    await bank.run(refund)
    bank.fail_refund(bank.effects("refund")[0]["reference"])
    events = await told(bank, lambda event: event.type.startswith("refund."))
    created = [event for event in events if event.type == "refund.created"]
    events_of_the_end = [event for event in events if event.type == "refund.failed"]
    await bank.hear([_later(event) for event in events_of_the_end])
    assert (await bank.job(refund))["status"] == "failed"
    await retry(bank, refund)

    await bank.hear(created)
    await bank.finish(refund)

    assert len(bank.effects("refund")) == 2
    assert (await bank.job(refund))["result"]["vendor_reference"] == (
        bank.effects("refund")[1]["reference"]
    )


@STRIPE
async def test_an_old_event_of_a_failed_refund_sets_nothing_aside(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.sandbox.dashboard(
        "stripe", "card", payment_method=bank.purse.pays, behaves_as="pm_card_pendingRefund"
    )
    refund = await bank.refund(charge, 400)
    lose(bank, "refund")
    await bank.run(refund)
    bank.fail_refund(bank.effects("refund")[0]["reference"])
    events = await told(bank, lambda event: event.type.startswith("refund."))
    await bank.hear([_later(event) for event in events if event.type == "refund.failed"])
    assert (await bank.job(refund))["status"] == "failed"

    await bank.hear([event for event in events if event.type == "refund.created"])

    assert (await bank.row(charge))["reserved"] == 0
    assert (await bank.job(refund))["reason"] is None


def _later(event: Event) -> Event:
    return Event(event.id, event.type, event.at + timedelta(seconds=5), event.payload)


# --- in the wrong order


@STRIPE
async def test_a_refund_that_a_look_up_found_does_not_go_back(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.sandbox.dashboard(
        "stripe", "card", payment_method=bank.purse.pays, behaves_as="pm_card_pendingRefund"
    )
    refund = await bank.refund(charge, 400)
    await doubtful(bank, refund, "refund")
    bank.sandbox.dashboard(
        "stripe", "succeed_refund", refund=bank.effects("refund")[0]["reference"]
    )
    assert (await bank.finish(refund))["result"]["status"] == "succeeded"
    events = await told(bank, lambda event: event.type.startswith("refund."))
    created = [event for event in events if event.type == "refund.created"]
    others = [_later(event) for event in events if event.type != "refund.created"]

    await bank.hear([*others, *created])

    assert (await bank.job(refund))["shown"]["status"] == "succeeded"
    assert (await bank.row(charge))["reserved"] == 0


@STRIPE
async def test_a_refund_is_told_before_its_charge(bank: Bank) -> None:
    """After an outage each event is sent again in its own time."""
    job_id = await bank.charge(1000)
    lose(bank, "charge")
    await bank.run(job_id)
    row = {"vendor_reference": bank.effects("charge")[0]["reference"]}
    bank.give_back(row, 400)
    await bank.hear(await told(bank, lambda event: event.type.startswith("refund.")))
    assert (await bank.finish(job_id))["status"] == "succeeded"

    await bank.driver.rows("UPDATE ferryman.events SET due_at = now() WHERE due_at IS NOT NULL")
    await bank.hear()

    assert (await bank.row(job_id))["refunded"] == 400
    assert bank.balance() == await bank.ledger_balance() == 600


@STRIPE
async def test_a_refund_is_told_before_a_part_is_taken(bank: Bank) -> None:
    """A person takes 700 of 1000 that are held, and gives 400 of them back."""
    charge = await bank.charged(1000, capture=False)
    row = await bank.row(charge)
    capture = await bank.enqueue("capture_charge", {"charge": str(charge), "amount": 700})
    lose(bank, "charge", path="/v1/payment_intents/*/capture")
    await bank.run(capture)
    bank.give_back(row, 400)
    events = await told(bank, lambda event: event.type.startswith("refund."))

    await bank.hear(events)
    await bank.finish(capture)
    await bank.hear()

    shown = await bank.row(charge)
    assert (shown["amount"], shown["refunded"]) == (700, 400)
    assert bank.balance() == await bank.ledger_balance() == 300


async def test_a_dispute_that_was_won_is_told_backwards(bank: Bank) -> None:
    charge = await bank.charged(1000)
    row = await bank.row(charge)
    bank.sandbox.dashboard(bank.vendor, "dispute", **bank.payment(row))
    bank.end_dispute(row)
    events = await told(bank, lambda event: "dispute" in event.type.lower())
    first, *others = events

    await bank.hear([*(_later(event) for event in reversed(others)), first])

    assert not (await bank.row(charge))["disputed"]
    assert (await bank.job(charge))["shown"]["status"] == "succeeded"


@STRIPE
async def test_what_was_let_go_is_not_held_again_by_an_older_event(bank: Bank) -> None:
    """Its payer agreed at the moment at which it was cancelled."""
    job_id = await bank.charge(1000, payment_method=bank.purse.asks, capture=False)
    await bank.run(job_id)
    bank.approve(await bank.row(job_id))
    await bank.cancel(job_id)
    assert (await bank.run(job_id))["status"] == "cancelled"
    last = await told(bank, lambda event: event.type == "payment_intent.canceled")
    others = await told(bank, lambda event: event.type != "payment_intent.canceled")

    await bank.hear([_later(event) for event in last] + others)

    assert (await bank.row(job_id))["status"] == "cancelled"
    assert (await bank.job(job_id))["reason"] is None


@STRIPE
async def test_a_failed_try_told_late_does_not_let_go_of_what_is_held(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)
    reference = (await bank.row(charge))["vendor_reference"]
    (event, *_) = await told(bank, lambda e: e.type == "payment_intent.amount_capturable_updated")
    intent = event.payload["data"]["object"] | {"status": "requires_payment_method"}
    payload = event.payload | {"data": {"object": intent}, "type": "payment_intent.payment_failed"}
    assert intent["id"] == reference

    old = event.at - timedelta(seconds=30)
    await bank.hear([Event("evt_old", "payment_intent.payment_failed", old, payload)])

    assert (await bank.row(charge))["status"] == "authorized"


# --- PayPal: what an event may bring about


@PAYPAL
async def test_the_payment_of_another_order_proves_nothing(bank: Bank) -> None:
    """The signature covers a checksum: an event may name one job, and another's order."""
    job_id = await bank.charge(1000, payment_method=bank.purse.declines)
    assert (await bank.run(job_id))["status"] == "failed"
    other = await bank.charged(1000)
    row = await bank.row(other)
    (event, *_) = await told(bank, lambda e: e.type == "PAYMENT.CAPTURE.COMPLETED")
    await bank.driver.rows("DELETE FROM ferryman.charges WHERE id = :id", id=other)
    await bank.driver.rows("DELETE FROM ferryman.jobs WHERE id = :id", id=other)
    resource = event.payload["resource"] | {"custom_id": str(job_id)}
    assert resource["id"] == row["vendor_reference"]

    forged = Event("WH-FORGED", event.type, event.at, event.payload | {"resource": resource})
    await bank.hear([forged])

    status = await bank.driver.rows("SELECT status FROM ferryman.charges WHERE id = :i", i=job_id)
    assert [one["status"] for one in status] in ([], ["failed"])


@PAYPAL
async def test_a_dispute_of_two_payments_is_heard(bank: Bank) -> None:
    charges = [await bank.charged(1000), await bank.charged(2000)]
    rows = [await bank.row(charge) for charge in charges]
    bank.sandbox.dashboard("paypal", "dispute", **bank.payment(rows[0]))
    (event,) = await told(bank, lambda e: e.type == "CUSTOMER.DISPUTE.CREATED")
    both = [{"seller_transaction_id": row["vendor_reference"]} for row in rows]
    resource = event.payload["resource"] | {"disputed_transactions": both}
    payload = event.payload | {"resource": resource}

    await bank.hear([Event(event.id, event.type, event.at, payload)])

    (stored,) = await bank.driver.rows("SELECT outcome FROM ferryman.events")
    assert "failed" not in stored["outcome"]


@PAYPAL
async def test_who_has_agreed_after_a_retry_is_charged(bank: Bank) -> None:
    """What was pending was denied. A person sends it again, and the payer agrees once more."""
    bank.sandbox.dashboard("paypal", "settings", pending_captures=True)
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    bank.approve(await bank.row(job_id))
    await bank.run(job_id)
    capture = (await bank.row(job_id))["vendor_reference"]
    assert capture
    bank.sandbox.dashboard("paypal", "settle", id=capture, succeeds=False)
    assert (await bank.run(job_id))["status"] == "failed"
    bank.sandbox.dashboard("paypal", "settings", pending_captures=False)
    await retry(bank, job_id)
    assert (await bank.run(job_id))["pending"]
    row = await bank.row(job_id)
    bank.sandbox.dashboard("paypal", "approve", order=row["vendor_session"])

    await bank.run(job_id)

    assert (await bank.job(job_id))["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 1000


@PAYPAL
async def test_a_vaulted_one_that_was_cut_after_a_retry_goes_on(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method="vault_pending")
    await bank.run(job_id)
    capture = (await bank.row(job_id))["vendor_reference"]
    bank.sandbox.dashboard("paypal", "settle", id=capture, succeeds=False)
    assert (await bank.run(job_id))["status"] == "failed"
    bank.sandbox.dashboard("paypal", "wallet", token="vault_pending", behaves_as="vault_ok")
    await retry(bank, job_id)
    lose(bank, "charge", do="drop_before")
    await bank.run(job_id)

    job = await bank.finish(job_id)

    assert job["status"] == "succeeded", (job["status"], job["reason"])


@PAYPAL
async def test_the_second_capture_of_an_attempt_is_in_doubt_as_well(bank: Bank) -> None:
    """The order is forgotten, another is made, and the answer to its capture is lost."""
    job_id = await bank.charge(1000)
    await doubtful(bank, job_id, "charge", do="drop_before")
    assert (await bank.run(job_id))["round"] == 1
    bank.sandbox.dashboard("paypal", "expire", order=(await bank.row(job_id))["vendor_session"])
    lose(bank, "charge", when={"nth": [2]})
    job = await bank.run(job_id)
    assert len(bank.effects("charge")) == 1, job

    await bank.cancel(job_id)
    await bank.finish(job_id)

    assert (await bank.job(job_id))["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 1000


# --- people, and what is under way


@STRIPE
async def test_a_cancel_after_a_retry_stops_the_payment_at_the_vendor(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    await bank.driver.rows("UPDATE ferryman.jobs SET crashes = 2")
    await bank.driver.claim(job_id)
    await bank.driver.rows("UPDATE ferryman.workers SET lease_until = now() - interval '1 s'")
    async with bank.driver.ledger.transaction() as connection:
        await workers.rescue(connection, max_crashes=3, overdue_seconds=30, looks=looks())
    await bank.driver.rows(
        "INSERT INTO ferryman.workers (id, name, lease_until) VALUES (:id, 'test', 'infinity')",
        id=bank.driver.runtime.heartbeat.lease.worker,
    )
    assert (await bank.job(job_id))["status"] == "unknown"
    await retry(bank, job_id)

    await bank.cancel(job_id)
    if (await bank.job(job_id))["status"] == "waiting":
        await bank.run(job_id)

    assert (await bank.job(job_id))["status"] == "cancelled"
    assert len(bank.effects("cancellation")) == 1


async def test_a_short_look_back_leaves_no_gap(bank: Bank) -> None:
    """Nothing was asked for two days; then a person asks for the last minute only."""
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 400)
    await bank.driver.rows(
        "UPDATE ferryman.vendor_states SET polled_until = now() - interval '2 days'"
        " WHERE vendor = :vendor",
        vendor=bank.vendor,
    )
    (before,) = await bank.driver.rows(
        "SELECT polled_until FROM ferryman.vendor_states WHERE vendor = :vendor", vendor=bank.vendor
    )

    await bank.run(await bank.enqueue("poll_events", {"since_seconds": 60}))

    (after,) = await bank.driver.rows(
        "SELECT polled_until FROM ferryman.vendor_states WHERE vendor = :vendor", vendor=bank.vendor
    )
    assert after == before


# --- what a person has said, and what the vendor says later


async def test_a_held_payment_that_a_person_saw_is_held_not_taken(bank: Bank) -> None:
    job_id = await bank.charge(1000, capture=False)
    lose(bank, "charge", path=HOLDS[bank.vendor])
    await bank.run(job_id)
    bank.sandbox.dashboard(bank.vendor, "forget_keys")
    await bank.driver.rows("UPDATE ferryman.sends SET repeat_until = now() WHERE repeat = 'key'")
    assert (await bank.run(job_id))["status"] == "unknown"

    await resolve(bank, job_id, "succeeded")

    assert (await bank.row(job_id))["status"] == "authorized"
    assert bank.balance() == await bank.ledger_balance() == 0


HOLDS = {"stripe": "/v1/payment_intents", "paypal": "/v2/checkout/orders/*/authorize"}


async def test_a_charge_that_a_person_saw_is_known_by_its_name_later(bank: Bank) -> None:
    """Ferryman says `refund it at the vendor`: then that refund must be found."""
    job_id = await bank.charge(1000)
    assert (await doubtful(bank, job_id, "charge"))["status"] == "unknown"
    await resolve(bank, job_id, "succeeded")
    await bank.hear()
    reference = bank.effects("charge")[0]["reference"]
    bank.give_back({"vendor_reference": reference}, 400)

    await bank.hear()

    assert (await bank.row(job_id))["refunded"] == 400
    assert bank.balance() == await bank.ledger_balance() == 600


# --- what is told and could not be read at once


@PAYPAL
async def test_a_hint_outlives_a_minute_without_the_vendor(bank: Bank) -> None:
    """An event is heard once: what it asks to be read again must be read, however late."""
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 400)
    events = await bank.told()
    bank.sandbox.script([{"vendor": "paypal", "method": "GET", "do": "error_before"}])
    with suppress(AssertionError):
        await bank.hear(events)
    (job,) = await bank.driver.rows("SELECT id FROM ferryman.jobs WHERE kind = 'refresh_charge'")
    for _ in range(6):
        await bank.driver.rows("UPDATE ferryman.vendor_states SET failures = 0")
        if (await bank.job(job["id"]))["status"] == "waiting":
            await bank.run(job["id"])

    bank.sandbox.script([])
    await bank.read_again()

    assert (await bank.row(charge))["refunded"] == 400


async def test_an_event_that_cannot_be_read_holds_up_no_other(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 400)
    events = await bank.told()
    read = type(adapter(bank.vendor)).news

    def news(self: Any, event: Event) -> Any:
        if event.id == "odd":
            raise RuntimeError("a defect")
        return read(self, event)

    monkeypatch.setattr(type(adapter(bank.vendor)), "news", news)
    odd = Event("odd", events[0].type, events[0].at, events[0].payload)
    async with bank.driver.ledger.transaction() as connection:
        rows = [
            Received(uuid7(), bank.vendor, one.id, one.type, one.at, one.payload)
            for one in [odd, *events]
        ]
        await ledger.store(connection, rows)

    with suppress(RuntimeError):
        await _inbox.drain(bank.driver.ledger)
    await bank.read_again()

    assert (await bank.row(charge))["refunded"] == 400


@PAYPAL
async def test_a_payment_that_is_not_shown_says_nothing_of_its_refund(bank: Bank) -> None:
    """Credentials of another account, for a while: all looks are answered 404."""
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 400)
    assert (await doubtful(bank, refund, "refund"))["status"] == "unknown"
    bank.sandbox.script([{"vendor": "paypal", "method": "GET", "do": "status", "status": 404}])

    job = await bank.run(refund)

    assert job["status"] == "unknown", job["error"]
    assert (await bank.row(charge))["reserved"] == 400


# --- two rows for one refund


@STRIPE
async def test_a_refund_that_was_taken_for_a_person_s_is_one_refund(bank: Bank) -> None:
    """Its metadata was lost on the way: it got a row of its own before its job had ended."""
    charge, other = await bank.charged(1000), await bank.charge(500)
    refund = await bank.refund(charge, 400)
    lose(bank, "refund")
    await bank.run(refund)
    (event,) = await told(bank, lambda one: one.type == "refund.created")
    about = event.payload["data"]["object"] | {"metadata": {}}
    payload = event.payload | {"data": {"object": about}, "request": None}
    await bank.hear([Event(event.id, event.type, event.at, payload)])

    first, second = await bank.together([refund, other])

    assert second["status"] == "succeeded"
    assert first["status"] == "succeeded", first["error"]
    assert (await bank.row(charge))["refunded"] == 400
    assert bank.balance() == await bank.ledger_balance() == 1100


# --- smaller things


async def test_an_answer_that_asks_for_the_payer_finds_the_vendor_well(bank: Bank) -> None:
    for method, left in ((bank.purse.pays, 0), (bank.purse.asks, 0)):
        await bank.driver.rows(
            "UPDATE ferryman.vendor_states SET failures = 9 WHERE vendor = :v", v=bank.vendor
        )
        bank.driver.runtime.breakers = Breakers(bank.driver.ledger, policies())
        await bank.run(await bank.charge(1000, payment_method=method))
        (state,) = await bank.driver.rows(
            "SELECT failures FROM ferryman.vendor_states WHERE vendor = :v", v=bank.vendor
        )
        assert state["failures"] == left, method


@STRIPE
async def test_a_customer_made_by_another_job_leaves_no_doubt(bank: Bank) -> None:
    """Its own request for the customer was lost; then its card is declined."""
    job_id = await bank.charge(1000, payment_method=bank.purse.declines, customer="new")
    bank.sandbox.script(
        [{"vendor": "stripe", "path": "/v1/customers", "do": "drop_after", "times": 1}]
    )
    await bank.run(job_id)
    await bank.charged(500, customer="new")

    job = await bank.run(job_id)

    assert (job["status"], (job["error"] or {}).get("code")) == ("failed", "card_declined")


async def test_a_cancelled_payment_shows_no_page_to_pay_on(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    await bank.cancel(job_id)
    await bank.run(job_id)

    shown = (await bank.job(job_id))["shown"] or {}

    assert "action_url" not in shown
    assert shown.get("status") != "requires_action"


@STRIPE
async def test_a_second_hold_of_one_job_is_for_a_person(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)
    (event, *_) = await told(bank, lambda e: e.type == "payment_intent.amount_capturable_updated")
    intent = event.payload["data"]["object"] | {"id": "pi_second"}
    payload = event.payload | {"data": {"object": intent}}

    await bank.hear([Event("evt_second", event.type, event.at, payload)])

    assert (await bank.job(charge))["reason"] == _settle.SECOND


@STRIPE
async def test_a_capture_of_another_payment_is_not_that_of_the_held_one(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)
    row = await bank.row(charge)
    (event, *_) = await told(bank, lambda e: e.type == "payment_intent.amount_capturable_updated")
    intent = event.payload["data"]["object"] | {"id": "pi_second", "status": "succeeded"}
    payload = event.payload | {
        "data": {"object": intent | {"amount_received": 1000}},
        "type": "payment_intent.succeeded",
    }

    await bank.hear([Event("evt_second", "payment_intent.succeeded", event.at, payload)])

    now = await bank.row(charge)
    assert (now["status"], now["vendor_reference"]) == ("authorized", row["vendor_reference"])
    assert (await bank.job(charge))["reason"] == _settle.SECOND


@STRIPE
async def test_what_was_held_late_may_be_taken_later(bank: Bank) -> None:
    """Of a job that had ended otherwise, every late effect is recorded, not only the first."""
    job_id = await bank.charge(1000, capture=False)
    await doubtful(bank, job_id, "charge")
    await resolve(bank, job_id, "failed")
    await bank.hear()
    row = await bank.row(job_id)
    assert row["status"] == "authorized"
    (event, *_) = await told(bank, lambda e: e.type == "payment_intent.amount_capturable_updated")
    intent = event.payload["data"]["object"] | {"status": "succeeded", "amount_received": 700}
    payload = event.payload | {"data": {"object": intent}, "type": "payment_intent.succeeded"}

    await bank.hear([_later(Event("evt_taken", "payment_intent.succeeded", event.at, payload))])

    row = await bank.row(job_id)
    assert (row["status"], row["amount"]) == ("succeeded", 700)


# --- what the first repairs left open


@STRIPE
async def test_a_refund_recorded_late_may_fail_later(bank: Bank) -> None:
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 400)
    await doubtful(bank, refund, "refund")
    await resolve(bank, refund, "failed")
    await bank.hear()
    assert (await bank.row(charge))["refunded"] == 400
    bank.fail_refund(bank.effects("refund")[0]["reference"])

    await bank.hear([_later(event) for event in await told(bank, _is_new_of_a_refund)])

    assert (await bank.row(charge))["refunded"] == 0
    assert bank.balance() == await bank.ledger_balance() == 1000


def _is_new_of_a_refund(event: Event) -> bool:
    return event.type == "refund.failed"


@STRIPE
async def test_old_events_in_the_wrong_order_do_not_end_the_next_round(bank: Bank) -> None:
    """The look-up passed the failed one over, so that nobody knows it by its name."""
    charge = await bank.charged(1000)
    bank.sandbox.dashboard(
        "stripe", "card", payment_method=bank.purse.pays, behaves_as="pm_card_pendingRefund"
    )
    refund = await bank.refund(charge, 400)
    await doubtful(bank, refund, "refund")
    bank.fail_refund(bank.effects("refund")[0]["reference"])
    assert (await bank.run(refund))["round"] == 1
    events = await told(bank, lambda event: event.type.startswith("refund."))

    await bank.hear([_later(event) for event in events if event.type == "refund.failed"])
    await bank.hear([event for event in events if event.type == "refund.created"])
    await bank.finish(refund)

    assert len(bank.effects("refund")) == 2
    assert (await bank.job(refund))["result"]["vendor_reference"] == (
        bank.effects("refund")[1]["reference"]
    )


@PAYPAL
async def test_a_refund_that_failed_while_it_was_read_is_read_again(bank: Bank) -> None:
    """Its event is older than the end of the reading, but not than what was read."""
    charge = await bank.charged(1000)
    bank.refunds_may_fail()
    refund = await bank.refund(charge, 400)
    reference = (await bank.run(refund))["result"]["vendor_reference"]
    bank.fail_refund(reference)
    # It was read as pending just before, and the reading ended just after.
    read_at = "clock_timestamp() - interval '10 s'"
    await bank.driver.rows(f"UPDATE ferryman.refunds SET told_at = {read_at}")

    await bank.hear()

    assert (await bank.job(refund))["shown"]["status"] == "failed"
    assert (await bank.row(charge))["reserved"] == 0


@PAYPAL
async def test_a_dispute_of_one_of_ours_does_not_wait_for_another(bank: Bank) -> None:
    charge = await bank.charged(1000)
    row = await bank.row(charge)
    bank.sandbox.dashboard("paypal", "dispute", **bank.payment(row))
    (event,) = await told(bank, lambda e: e.type == "CUSTOMER.DISPUTE.CREATED")
    both = [
        {"seller_transaction_id": reference} for reference in (row["vendor_reference"], "OTHERS1")
    ]
    resource = event.payload["resource"] | {"disputed_transactions": both}

    await bank.hear([Event(event.id, event.type, event.at, event.payload | {"resource": resource})])

    assert (await bank.row(charge))["disputed"]


@STRIPE
async def test_a_hold_that_a_person_saw_is_named_and_taken_by_one_event(bank: Bank) -> None:
    job_id = await bank.charge(1000, capture=False)
    assert (await doubtful(bank, job_id, "charge"))["status"] == "unknown"
    await resolve(bank, job_id, "succeeded")
    (event, *_) = await told(bank, lambda e: e.type == "payment_intent.amount_capturable_updated")
    intent = event.payload["data"]["object"] | {"status": "succeeded", "amount_received": 700}
    payload = event.payload | {"data": {"object": intent}, "type": "payment_intent.succeeded"}

    await bank.hear([_later(Event("evt_taken", "payment_intent.succeeded", event.at, payload))])

    row = await bank.row(job_id)
    assert (row["status"], row["amount"], row["vendor_reference"]) == (
        "succeeded",
        700,
        intent["id"],
    )
