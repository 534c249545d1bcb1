"""What the kinds of money have in common: a charge's row and result, and how it is found."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from adapters._base import Refused, Unknown
from adapters._payments import OPEN, ChargeOrder, Known, Payment, Payments, RefundAnswer
from ferryman import requests
from ferryman.settings import settings
from models import jobs
from models import payments as ledger
from models.refunds import Reservation
from tasks._base import Attempt, Done, Pending, Refusal, Wait, timestamp

Row = dict[str, Any]

WAIT_FOR_CHARGE_SECONDS = 2.0
# Between two looks at a payment that its payer or a bank decides about; a webhook is quicker.
FIRST_LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = {"requires_action": 300.0, "processing": 21_600.0}
# Where a payer comes back to on a developer's own machine, when nothing else is said.
LOCAL_RETURN = "http://127.0.0.1:8080"
RETURN_PATH = "/paid"
SOON = ("waiting", "running", "unknown")
REASONS = {
    "requires_action": "waits for its payer, whom `action_url` in the result leads to",
    "processing": "the vendor is still processing the payment",
}
RESULT = (
    "id",
    "vendor",
    "vendor_reference",
    "status",
    "amount",
    "currency",
    "customer",
    "metadata",
    "created_at",
)


def order_of(id: UUID, args: requests.Charge) -> ChargeOrder:
    """The arguments as a payment vendor is asked; its customer is still missing."""
    return ChargeOrder(
        job_id=id,
        customer=None,
        amount=args.amount,
        currency=args.currency.lower(),
        payment_method=args.payment_method,
        description=args.description,
        metadata=dict(args.metadata or {}),
        capture=args.capture,
        return_url=args.return_url or _default_return(),
    )


def _default_return() -> str | None:
    public = settings().public_url or (None if settings().production else LOCAL_RETURN)
    return public.rstrip("/") + RETURN_PATH if public else None


def charge_row(
    id: UUID, vendor: str, app_user: str, order: ChargeOrder, payment: Payment
) -> dict[str, Any]:
    """A payment as the ledger keeps it."""
    return {
        "id": str(id),
        "vendor": vendor,
        "vendor_reference": payment.vendor_reference,
        "vendor_session": payment.session,
        "customer": app_user,
        "status": payment.status,
        "amount": payment.amount,
        "currency": order.currency,
        "metadata": order.metadata,
        "created_at": timestamp(payment.created_at),
    }


def charge_done(row: Row, **more: Any) -> Done:
    """A charge's result, as its client sees it, and its row."""
    result = {name: row[name] for name in RESULT} | more
    return Done(result, writes={"charges": [row]})


def ending_done(id: UUID, charge: Row, payment: Payment) -> Done:
    """The result of the job that took a held payment, or let go of it, and the charge's move."""
    taken = payment.status == "succeeded"
    reference = payment.vendor_reference if taken else charge["vendor_reference"]
    amount = payment.amount if taken else charge["amount"]
    move: Row = {"id": str(charge["id"]), "status": payment.status}
    if taken:
        move |= {"amount": amount, "vendor_reference": reference}
    result = {
        "id": str(id),
        "charge": str(charge["id"]),
        "vendor": charge["vendor"],
        "vendor_reference": reference,
        "status": payment.status,
        "amount": amount,
        "currency": charge["currency"],
        "created_at": timestamp(payment.created_at),
    }
    return Done(result, writes={"charge_moves": [move]})


def judge(row: Row, order: ChargeOrder, payment: Payment, age_seconds: float) -> Done:
    """What a payment means for the job that asked for it.

    Raises Pending while its payer or a bank decides, Refused when it came to nothing, Unknown when
    it is not the one that was asked for.
    """
    if payment.status in OPEN:
        seconds = max(
            FIRST_LOOK_SECONDS, min(age_seconds / 4, LONGEST_LOOK_SECONDS[payment.status])
        )
        so_far = charge_done(row, action_url=payment.action_url)
        raise Pending(REASONS[payment.status], seconds, so_far)
    if payment.status == "failed":
        code = payment.code or "refused"
        raise Refused(f"the vendor refused: {code.replace('_', ' ')}", code=code)
    if payment.status == "cancelled":
        raise Refused("the payment was cancelled at the vendor", code="payment_cancelled")
    if not fits(order, payment):
        raise other_amount()
    return charge_done(row)


def fits(order: ChargeOrder, payment: Payment) -> bool:
    """Whether it is what was asked for. Of an amount that was held, less may have been taken."""
    if payment.currency.lower() != order.currency:
        return False
    less = not order.capture and payment.status == "succeeded"
    return payment.amount == order.amount or (less and payment.amount < order.amount)


def other_amount() -> Unknown:
    """Money moved, and not as it was asked for: a person has to say what that is."""
    return Unknown(
        "the vendor confirms another amount than was asked for",
        code="amount_mismatch",
        for_person=True,
    )


def known(row: Row | None) -> Known:
    """How the vendor knows a charge."""
    if row is None:
        return Known()
    return Known(payment=row["vendor_reference"], session=row["vendor_session"])


def charge_id(given: str) -> UUID:
    """Raises Refusal for what is no id."""
    try:
        return UUID(given)
    except ValueError:
        raise Refusal("charge_not_found", "charge: there is no charge with that id") from None


async def charge_of(attempt: Attempt[Any]) -> Row:
    """The charge that a job's arguments name. Raises Wait while it is under way, Refusal where
    there is none."""
    named = charge_id(attempt.args.charge)
    async with attempt.ledger.transaction() as connection:
        # In this order: a charge that is made in the meantime is found by the second.
        status = await jobs.status(connection, named)
        charge = await ledger.charge(connection, named)
    if charge is None or charge["status"] in OPEN:
        raise why_not(charge, status)
    return charge


async def look_at(attempt: Attempt[Any]) -> tuple[Row, Payment]:
    """The charge that a job's arguments name, and what the vendor shows of it now. Raises as
    `charge_of`, and as `read_payment`."""
    charge = await charge_of(attempt)
    return charge, await cast(Payments, attempt.adapter).read_payment(attempt.call, known(charge))


async def hold(attempt: Attempt[Any], amount: int | None) -> Row:
    """The held charge that this job alone takes, or lets go of. Raises Wait, and Refusal or Refused
    where that cannot be."""
    charge = await charge_of(attempt)
    async with attempt.held() as connection:
        if await ledger.take(connection, charge["id"], attempt.id, amount):
            return charge
        charge = await ledger.charge(connection, charge["id"]) or charge
    if charge["status"] != "authorized":
        raise why_not(charge, None)
    if charge["taken_by"] not in (None, attempt.id):
        raise Wait("waits for another job on the same charge", WAIT_FOR_CHARGE_SECONDS)
    raise Refusal("amount_exceeds_rest", "amount: more than is held")


def why_not(charge: Row | None, job_status: str | None) -> Exception:
    """Why nothing can be done with a charge."""
    open_ = charge is not None and charge["status"] in OPEN
    if (charge is None or open_) and job_status in SOON:
        return Wait("waits for the charge that it is about", WAIT_FOR_CHARGE_SECONDS)
    if charge is None and job_status in ("failed", "cancelled"):
        return Refusal(f"charge_{job_status}", f"charge: it is {job_status}, nothing was taken")
    if charge is None:
        return Refusal("charge_not_found", "charge: there is no charge with that id")
    status = charge["status"]
    return Refusal(f"charge_{status}", f"charge: it is {status.replace('_', ' ')}")


def refund_done(
    id: UUID, vendor: str, reserved: Reservation, answer: RefundAnswer, at: str | None = None
) -> Done:
    """A refund's result, as its client sees it, and its row. `at`: the vendor's time of an event
    that tells of it."""
    row = {
        "id": str(id),
        "status": answer.status,
        "vendor_reference": answer.vendor_reference,
        "at": at,
    }
    result = {
        "id": str(id),
        "charge": str(reserved.charge_id),
        "vendor": vendor,
        "vendor_reference": answer.vendor_reference,
        "status": answer.status,
        "amount": answer.amount,
        "currency": reserved.currency,
        "created_at": timestamp(answer.created_at),
    }
    return Done(result, writes={"refunds": [row]})
