"""What an application sees of a payment is the same with every vendor, whatever happens to it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from models import refunds
from models.walk import write
from tests.money.bank import Bank


async def test_a_charge_succeeds(bank: Bank) -> None:
    job_id = await bank.charge(1250, metadata={"order": "42"}, description="a book")

    job = await bank.run(job_id)

    assert job["status"] == "succeeded"
    result = (await bank.job(job_id))["shown"]
    row = await bank.row(job_id)
    assert result | {"created_at": None} == {
        "id": str(job_id),
        "vendor": bank.vendor,
        "vendor_reference": row["vendor_reference"],
        "status": "succeeded",
        "amount": 1250,
        "currency": "usd",
        "customer": "user-1",
        "metadata": {"order": "42"},
        "refunded": 0,
        "created_at": None,
    }
    assert [(e["job"], e["kind"]) for e in bank.effects("charge")] == [(str(job_id), "charge")]
    assert bank.balance() == await bank.ledger_balance() == 1250


async def test_a_declined_card_is_told_in_our_words(bank: Bank) -> None:
    job = await bank.run(await bank.charge(payment_method=bank.purse.declines))

    assert job["status"] == "failed"
    assert job["error"]["code"] == "card_declined"
    assert job["error"]["type"] == "Refused"
    assert bank.effects("charge") == []
    assert await bank.ledger_balance() == 0


async def test_a_held_payment_is_taken_in_part(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)
    assert (await bank.job(charge))["shown"]["status"] == "authorized"
    assert bank.effects("charge") == []

    capture = await bank.enqueue("capture_charge", {"charge": str(charge), "amount": 700})
    job = await bank.run(capture)

    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["amount"] == 700
    shown = (await bank.job(charge))["shown"]
    assert (shown["status"], shown["amount"]) == ("succeeded", 700)
    assert bank.balance() == await bank.ledger_balance() == 700
    refused = await bank.run(await bank.refund(charge, 701))
    assert refused["error"]["code"] == "amount_exceeds_rest"
    assert (await bank.run(await bank.refund(charge)))["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 0


async def test_a_held_payment_is_let_go(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)

    job = await bank.run(await bank.enqueue("cancel_charge", {"charge": str(charge)}))

    assert (job["status"], job["result"]["status"]) == ("succeeded", "cancelled")
    assert (await bank.job(charge))["shown"]["status"] == "cancelled"
    assert len(bank.effects("cancellation")) == 1
    late = await bank.run(await bank.enqueue("capture_charge", {"charge": str(charge)}))
    assert (late["status"], late["error"]["code"]) == ("failed", "charge_cancelled")
    refund = await bank.run(await bank.refund(charge))
    assert (refund["status"], refund["error"]["code"]) == ("failed", "charge_cancelled")


async def test_more_than_is_held_is_not_taken(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)

    job = await bank.run(
        await bank.enqueue("capture_charge", {"charge": str(charge), "amount": 1001})
    )

    assert (job["status"], job["error"]["code"]) == ("failed", "amount_exceeds_rest")
    assert bank.effects("charge") == []


async def test_one_of_capture_and_cancel_wins(bank: Bank) -> None:
    charge = await bank.charged(1000, capture=False)
    jobs = [
        await bank.enqueue(kind, {"charge": str(charge)})
        for kind in ("capture_charge", "cancel_charge") * 3
    ]

    await bank.together(jobs)
    ends = [await bank.finish(job) for job in jobs]

    assert sorted(end["status"] for end in ends) == ["failed"] * 5 + ["succeeded"]
    assert len(bank.effects("charge")) + len(bank.effects("cancellation")) == 1
    assert bank.balance() == await bank.ledger_balance()


async def test_a_payer_is_asked_and_agrees(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)

    job = await bank.run(job_id)

    assert job["status"] == "waiting"
    assert job["pending"]
    assert "payer" in job["reason"]
    assert job["result"]["status"] == "requires_action"
    assert job["result"]["action_url"].startswith("http")
    assert bank.effects("charge") == []
    assert (await bank.run(job_id))["status"] == "waiting"

    bank.approve(await bank.row(job_id))
    job = await bank.run(job_id)

    assert (job["status"], job["result"]["status"]) == ("succeeded", "succeeded")
    assert "action_url" not in job["result"]
    assert bank.balance() == await bank.ledger_balance() == 1000
    assert job["attempts"] == 1


async def test_the_payer_s_agreement_comes_by_event(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    job = await bank.run(job_id)
    later = job["run_at"]
    bank.approve(await bank.row(job_id))

    await bank.hear()

    job = await bank.job(job_id)
    if job["status"] == "waiting":  # only a hint: the job looks for itself, at once
        assert job["run_at"] < later
        job = await bank.run(job_id)
    assert (job["status"], job["result"]["status"]) == ("succeeded", "succeeded")
    assert bank.balance() == await bank.ledger_balance() == 1000


async def test_who_waits_for_a_payer_can_be_cancelled(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    row = await bank.row(job_id)

    assert not await bank.cancel(job_id)
    job = await bank.run(job_id)

    assert job["status"] == "cancelled"
    assert (await bank.row(job_id))["status"] == "cancelled"
    if bank.vendor == "stripe":
        assert len(bank.effects("cancellation")) == 1
        assert bank.sandbox.dashboard("stripe", "balance").get("usd", 0) == 0
    else:
        bank.approve(row)  # too late: nobody takes it
    await bank.hear()
    assert bank.balance() == await bank.ledger_balance() == 0
    assert (await bank.job(job_id))["status"] == "cancelled"


async def test_a_payer_who_agreed_first_wins_over_a_cancel(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    bank.approve(await bank.row(job_id))

    await bank.cancel(job_id)
    job = await bank.run(job_id)

    # PayPal's payer has only agreed: taking it was still ours to do, and was not done.
    expected = "succeeded" if bank.vendor == "stripe" else "cancelled"
    assert job["status"] == expected
    assert bank.balance() == await bank.ledger_balance()


async def test_a_payer_who_does_not_come_in_time(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    await bank.driver.rows("UPDATE ferryman.charges SET created_at = now() - interval '2 hours'")

    job = await bank.run(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "expired")
    assert (await bank.row(job_id))["status"] == "failed"
    assert bank.balance() == await bank.ledger_balance() == 0


async def test_an_expired_job_cancels_what_it_began(bank: Bank) -> None:
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    await bank.driver.rows("UPDATE ferryman.jobs SET expires_at = now()")

    job = await bank.run(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "expired")
    if bank.vendor == "stripe":
        assert len(bank.effects("cancellation")) == 1


async def test_refunds_of_one_charge_share_what_is_left(bank: Bank) -> None:
    charge = await bank.charged(10_000)
    refunds = [await bank.refund(charge, 1000) for _ in range(48)]

    ends = await bank.together(refunds)

    statuses = [end["status"] for end in ends]
    assert (statuses.count("succeeded"), statuses.count("failed")) == (10, 38)
    assert {e["error"]["code"] for e in ends if e["error"]} <= {
        "amount_exceeds_rest",
        "charge_refunded",
    }
    assert len(bank.effects("refund")) == 10
    assert (await bank.job(charge))["shown"]["status"] == "refunded"
    assert bank.balance() == await bank.ledger_balance() == 0


async def test_the_rest_in_one_refund(bank: Bank) -> None:
    charge = await bank.charged(1000)
    await bank.run(await bank.refund(charge, 333))
    assert (await bank.job(charge))["shown"]["status"] == "partially_refunded"

    job = await bank.run(await bank.refund(charge))

    assert (job["status"], job["result"]["amount"]) == ("succeeded", 667)
    assert bank.balance() == await bank.ledger_balance() == 0


async def test_a_refund_waits_for_its_charge(bank: Bank) -> None:
    charge = await bank.charge()
    refund = await bank.refund(charge)

    waits = await bank.run(refund)
    await bank.run(charge)
    job = await bank.run(refund)

    assert (waits["status"], waits["attempts"]) == ("waiting", 0)
    assert job["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 0


async def test_fifty_charges_of_a_new_user_make_one_customer(bank: Bank) -> None:
    jobs = [await bank.charge(customer="new") for _ in range(50)]

    ends = await bank.together(jobs)

    assert {end["status"] for end in ends} == {"succeeded"}
    made = len(bank.effects("customer"))
    assert made == (1 if bank.vendor == "stripe" else 0)
    assert len(bank.effects("charge")) == 50
    assert bank.balance() == await bank.ledger_balance() == 50_000


async def test_a_refund_made_at_the_vendor_counts(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 400)

    await bank.hear()
    await bank.hear()

    shown = (await bank.job(charge))["shown"]
    assert (shown["status"], shown["refunded"]) == ("partially_refunded", 400)
    refused = await bank.run(await bank.refund(charge, 601))
    assert refused["error"]["code"] == "amount_exceeds_rest"
    assert bank.balance() == await bank.ledger_balance() == 600


async def test_a_refund_that_fails_later_gives_the_balance_back(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.refunds_may_fail()
    refund = await bank.refund(charge, 400)
    reference = (await bank.run(refund))["result"]["vendor_reference"]
    too_much = await bank.run(await bank.refund(charge, 601))
    assert too_much["error"]["code"] == "amount_exceeds_rest"
    bank.fail_refund(reference)

    await bank.hear()

    job = await bank.job(refund)
    assert (job["status"], job["shown"]["status"]) == ("succeeded", "failed")
    assert "failed at the vendor" in job["reason"]
    assert (await bank.job(charge))["shown"]["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 1000
    assert (await bank.run(await bank.refund(charge, 1000)))["status"] == "succeeded"


async def test_events_in_the_wrong_order_change_nothing(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.refunds_may_fail()
    refund = await bank.refund(charge, 400)
    reference = (await bank.run(refund))["result"]["vendor_reference"]
    bank.fail_refund(reference)
    bank.give_back(await bank.row(charge), 100)
    events = await bank.told()

    await bank.hear([*reversed(events), *events])

    assert bank.balance() == await bank.ledger_balance() == 900
    assert (await bank.job(charge))["shown"]["refunded"] == 100
    assert (await bank.row(charge))["reserved"] == 0


async def test_a_disputed_charge_is_not_refunded(bank: Bank) -> None:
    charge = await bank.charged(1000)
    row = await bank.row(charge)
    bank.sandbox.dashboard(bank.vendor, "dispute", **bank.payment(row))
    await bank.hear()

    assert (await bank.job(charge))["shown"]["status"] == "disputed"
    refused = await bank.run(await bank.refund(charge))
    assert (refused["status"], refused["error"]["code"]) == ("failed", "charge_disputed")
    assert bank.effects("refund") == []

    bank.end_dispute(row)
    await bank.hear()

    assert (await bank.job(charge))["shown"]["status"] == "succeeded"
    assert (await bank.run(await bank.refund(charge)))["status"] == "succeeded"


async def test_both_at_once_settle_a_payment_once(bank: Bank) -> None:
    """A poll and an event tell of the same payment at the same moment."""
    job_id = await bank.charge(1000, payment_method=bank.purse.asks)
    await bank.run(job_id)
    bank.approve(await bank.row(job_id))

    await asyncio.gather(bank.run(job_id), bank.hear(), return_exceptions=True)
    await bank.hear()

    job = await bank.job(job_id)
    if job["status"] == "waiting":
        job = await bank.run(job_id)
    assert job["status"] == "succeeded"
    assert len(bank.effects("charge")) == 1
    assert bank.balance() == await bank.ledger_balance() == 1000


async def test_a_refund_that_looked_like_a_person_s_is_the_job_s(bank: Bank) -> None:
    """The vendor told of it without naming the job, before the job had its answer."""
    charge = await bank.charged(1000)
    refund = await bank.refund(charge, 400)
    execution = await bank.driver.claim(refund)
    done = await execution._run()
    assert done is not None
    told = {
        "reference": done.result["vendor_reference"],
        "amount": 400,
        "currency": "usd",
        "created_at": datetime.now(UTC),
    }
    async with bank.driver.ledger.transaction() as connection:
        stranger = await refunds.made_elsewhere(connection, bank.vendor, charge, uuid7(), told)
        row = {"id": str(stranger), "status": "succeeded", "vendor_reference": told["reference"]}
        await write(connection, [{"refunds": [{**row, "at": "2026-01-01T00:00:00Z"}]}])
    assert (await bank.row(charge))["refunded"] == 400

    await execution._succeed(done)

    (row,) = await bank.driver.rows("SELECT id, status FROM ferryman.refunds")
    assert (row["id"], row["status"]) == (refund, "succeeded")
    assert (await bank.row(charge))["reserved"] == 0
    assert bank.balance() == await bank.ledger_balance() == 600
