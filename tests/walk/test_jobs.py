"""Charges and refunds from enqueue to ledger, on a real worker."""

from __future__ import annotations

from tests.harness import Harness


def test_a_charge_takes_effect_once_and_is_on_record(harness: Harness) -> None:
    harness.worker()
    job_id = harness.charge(amount=1250)

    job = harness.ended(job_id)

    assert job["status"] == "succeeded", job["error"]
    assert job["attempts"] == 1
    assert job["result"] | {"created_at": None, "vendor_reference": None} == {
        "id": str(job_id),
        "vendor": "stripe",
        "vendor_reference": None,
        "status": "succeeded",
        "amount": 1250,
        "currency": "usd",
        "customer": "user-0",
        "metadata": {},
        "created_at": None,
    }
    (effect,) = harness.sandbox.effects(vendor="stripe", kind="charge")
    assert effect["amount"] == 1250
    (attempt,) = harness.attempts(job_id)
    assert (attempt["number"], attempt["outcome"]) == (1, "succeeded")
    exchanges = harness.rows("SELECT * FROM ferryman.interactions WHERE job_id = %s", (job_id,))
    assert [e["url"].rpartition("/")[2] for e in exchanges] == ["customers", "payment_intents"]
    assert {e["status_code"] for e in exchanges} == {200}
    assert harness.row("SELECT amount, status FROM ferryman.charges WHERE id = %s", (job_id,)) == {
        "amount": 1250,
        "status": "succeeded",
    }


def test_one_customer_for_many_charges_of_one_user(harness: Harness) -> None:
    harness.worker()
    jobs = [harness.charge(customer="user-same") for _ in range(20)]

    assert harness.all_ended(jobs) == {"succeeded": 20}

    assert len(harness.sandbox.effects(vendor="stripe", kind="customer")) == 1
    assert len(harness.sandbox.effects(vendor="stripe", kind="charge")) == 20


def test_a_declined_card_fails_at_once(harness: Harness) -> None:
    harness.worker()
    job = harness.ended(harness.charge(payment_method="pm_card_chargeDeclinedInsufficientFunds"))

    assert job["status"] == "failed"
    assert job["attempts"] == 1
    assert job["error"]["code"] == "insufficient_funds"
    assert harness.sandbox.effects(vendor="stripe", kind="charge") == []


def test_refunds_never_exceed_the_charge(harness: Harness) -> None:
    harness.worker()
    charge = harness.charge(amount=10_000)
    harness.ended(charge)

    refunds = [
        harness.enqueue("refund", {"charge": str(charge), "amount": 1_000}) for _ in range(24)
    ]

    assert harness.all_ended(refunds) == {"succeeded": 10, "failed": 14}
    effects = harness.sandbox.effects(vendor="stripe", kind="refund")
    assert sum(effect["amount"] for effect in effects) == 10_000
    assert harness.row(
        "SELECT reserved, refunded, status FROM ferryman.charges WHERE id = %s", (charge,)
    ) == {"reserved": 0, "refunded": 10_000, "status": "refunded"}
    codes = harness.rows(
        "SELECT DISTINCT error ->> 'code' AS code FROM ferryman.jobs WHERE status = 'failed'"
    )
    assert {row["code"] for row in codes} <= {"amount_exceeds_rest", "charge_refunded"}


def test_the_rest_of_a_charge_in_one_refund(harness: Harness) -> None:
    harness.worker()
    charge = harness.charge(amount=5_000)
    harness.ended(charge)
    part = harness.ended(harness.enqueue("refund", {"charge": str(charge), "amount": 1_234}))

    rest = harness.ended(harness.enqueue("refund", {"charge": str(charge)}))

    assert part["result"]["amount"] == 1_234
    assert rest["result"]["amount"] == 5_000 - 1_234


def test_a_refund_waits_for_its_charge(harness: Harness) -> None:
    charge = harness.charge(amount=700)
    refund = harness.enqueue("refund", {"charge": str(charge)}, priority="high")
    harness.worker()

    assert harness.ended(refund)["status"] == "succeeded"
    assert harness.job(refund)["attempts"] == 1


def test_bad_arguments_by_sql_fail_without_a_call(harness: Harness) -> None:
    harness.worker()
    before = harness.sandbox.requests("stripe")
    job = harness.ended(harness.charge(amount="12.50"))

    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_arguments"
    assert job["error"]["field"] == "amount"
    assert harness.sandbox.requests("stripe") == before


def test_a_vendor_without_credentials_says_which_variable_is_missing(harness: Harness) -> None:
    harness.worker(STRIPE_SECRET_KEY="")
    job_id = harness.charge()

    from tests.harness import until

    job = until(lambda: (j := harness.job(job_id))["reason"] and j)

    assert job["status"] == "waiting"
    assert "STRIPE_SECRET_KEY" in job["reason"]
    assert job["attempts"] == 0
