"""Refunds: never more than what is left of a charge."""

from collections.abc import Callable

from sandbox.stripe import disputes
from sandbox.stripe.account import Account, Call, merged
from sandbox.stripe.errors import Refused, missing, state
from sandbox.stripe.money import check_step, shown
from sandbox.stripe.objects import Charge, Refund


def create(account: Account, call: Call) -> Callable[[], Refund]:
    """Raises Refused where the charge cannot be found."""
    charge = _charge(account, call)
    if "amount" in call.given:
        check_step(call.given["amount"], charge.currency)
    return lambda: refund(
        account,
        charge,
        call.given.get("amount"),
        call=call,
        reason=call.given.get("reason"),
        metadata=merged({}, call.given.get("metadata", {})),
    )


def _charge(account: Account, call: Call) -> Charge:
    charge_id, intent_id = call.given.get("charge"), call.given.get("payment_intent")
    if charge_id is None and intent_id is None:
        raise Refused(
            400,
            "One of the following params should be provided for this request: payment_intent or"
            " charge.",
            code="parameter_missing",
        )
    if intent_id is None:
        return account.charge(str(charge_id), 400, "charge")
    found = _paid(account, intent_id)
    if charge_id not in (None, found.id):
        raise Refused(
            400, f"Charge {charge_id} is not of PaymentIntent {intent_id}.", param="charge"
        )
    return found


def _paid(account: Account, intent_id: str) -> Charge:
    intent = account.intent(intent_id, 400, "payment_intent")
    found = account.charges.get(intent.latest_charge or "")
    if found is None or not found.captured:
        raise state(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
        )
    return found


def refund(
    account: Account,
    charge: Charge,
    amount: int | None,
    *,
    call: Call | None = None,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
    pending: bool = False,
) -> Refund:
    """Gives back `amount`, or all that is left; `pending`: not yet. Raises Refused."""
    amount = _allowed(account, charge, amount)
    card = account.card(charge.card, charge.customer)
    row = Refund(
        id=account.ids.new("re_3"),
        created=account.now(),
        charge=charge.id,
        intent=charge.intent,
        amount=amount,
        currency=charge.currency,
        reason=reason,
        metadata=metadata or {},
        status="pending" if pending else card.refunds,
    )
    charge.amount_refunded += amount
    account.charges.put(charge)
    account.refunds.put(row)
    account.record(
        "refund",
        row.id,
        call,
        charge=charge.id,
        payment_intent=charge.intent,
        amount=amount,
        currency=charge.currency,
        metadata=row.metadata,
    )
    account.tell(call, "refund.created", row)
    account.tell(call, "charge.refunded", charge)
    return row


def succeed(account: Account, row: Refund) -> Refund:
    """A refund that was on its way has arrived. Raises Refused for any other."""
    if row.status != "pending":
        raise Refused(400, f"{row.id} has a status of {row.status}")
    row.status = "succeeded"
    return _changed(account, row)


def fail(account: Account, row: Refund, reason: str) -> Refund:
    """The payer's bank sends a refund back, also one that seemed to have succeeded: the money is
    ours again. Raises Refused where it has failed already."""
    if row.status == "failed":
        raise Refused(400, f"{row.id} has failed already")
    row.status = "failed"
    row.failure_reason = reason
    charge = account.charge(row.charge)
    charge.amount_refunded -= row.amount
    account.charges.put(charge)
    amounts = {"amount": row.amount, "currency": row.currency}
    account.record("refund_failure", row.id, None, charge=row.charge, **amounts)
    account.tell(None, "refund.failed", row)
    return _changed(account, row)


def _changed(account: Account, row: Refund) -> Refund:
    account.refunds.put(row)
    account.tell(None, "refund.updated", row)
    account.tell(None, "charge.refund.updated", row)
    return row


def _allowed(account: Account, charge: Charge, amount: int | None) -> int:
    rest = charge.amount_captured - charge.amount_refunded
    if disputes.forbids_refund(account, charge):
        raise Refused(
            400,
            f"Charge {charge.id} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    if not charge.captured:
        raise state(f"Charge {charge.id} has not been captured; cancel its PaymentIntent instead.")
    if rest == 0:
        raise Refused(
            400, f"Charge {charge.id} has already been refunded.", code="charge_already_refunded"
        )
    if amount is not None and amount > rest:
        # Seen from the vendor without a code, alone with the parameter's name.
        raise Refused(400, _over_refund(amount, rest, charge.currency), param="amount")
    return rest if amount is None else amount


def _over_refund(wanted: int, rest: int, currency: str) -> str:
    """What Stripe says to a refund of more than is left."""
    return (
        f"Refund amount ({shown(wanted, currency)}) is greater than unrefunded amount on charge"
        f" ({shown(rest, currency)})"
    )


def retrieve(account: Account, call: Call) -> Callable[[], Refund]:
    """Raises Refused for an unknown refund."""
    row = account.refunds.get(call.id)
    if row is None:
        raise missing("refund", call.id, "id", 404)
    return lambda: row
