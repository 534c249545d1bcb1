"""Disputes: a payer takes his money back by way of his bank, for a while or for good."""

from collections.abc import Callable

from sandbox.stripe.account import Account, Call
from sandbox.stripe.errors import Refused, missing
from sandbox.stripe.objects import Charge, Dispute


def begin(account: Account, charge: Charge) -> Dispute:
    """Raises Refused where there is nothing to be disputed."""
    if not charge.captured or any(d.status == "needs_response" for d in _of(account, charge)):
        raise Refused(400, f"{charge.id} is not captured, or is disputed already")
    row = Dispute(
        id=account.ids.new("du_1"),
        created=account.now(),
        charge=charge.id,
        intent=charge.intent,
        amount=charge.amount_captured - charge.amount_refunded,
        currency=charge.currency,
        reason="fraudulent",
    )
    # Stays so whatever comes of it: it says that there was a dispute, not that there is one.
    charge.disputed = True
    account.charges.put(charge)
    account.disputes.put(row)
    account.tell(None, "charge.dispute.created", row)
    account.tell(None, "charge.dispute.funds_withdrawn", row)
    return row


def close(account: Account, charge: Charge, outcome: str) -> Dispute:
    """`outcome`: won (by us) or lost. Raises Refused where nothing is open."""
    for row in _of(account, charge):
        if row.status == "needs_response":
            row.status = outcome
            account.disputes.put(row)
            account.tell(None, "charge.dispute.closed", row)
            if outcome == "won":
                account.tell(None, "charge.dispute.funds_reinstated", row)
            return row
    raise Refused(400, f"{charge.id} has no open dispute")


def forbids_refund(account: Account, charge: Charge) -> bool:
    """Whether a dispute of the charge is open, or lost."""
    return any(row.status != "won" for row in _of(account, charge))


def retrieve(account: Account, call: Call) -> Callable[[], Dispute]:
    """Raises Refused for an unknown dispute."""
    row = account.disputes.get(call.id)
    if row is None:
        raise missing("dispute", call.id, "id", 404)
    return lambda: row


def _of(account: Account, charge: Charge) -> list[Dispute]:
    return account.disputes_of(charge.id) if charge.disputed else []
