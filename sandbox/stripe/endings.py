"""How does a payment end that waited: for its payer, for a bank, or to be captured?"""

from sandbox.stripe import payments
from sandbox.stripe.account import Account, Call
from sandbox.stripe.errors import state
from sandbox.stripe.objects import Intent
from sandbox.stripe.shapes import shape

CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
UNAUTHENTICATED = {
    "code": "payment_intent_authentication_failure",
    "message": "The provided PaymentMethod has failed authentication. You can provide"
    " payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again.",
    "type": "invalid_request_error",
}


def authenticate(account: Account, row: Intent, *, succeeds: bool) -> Intent:
    """The payer does, or fails to do, what the payment asks of him. Raises Refused where it asks
    nothing."""
    _check_status(row, ("requires_action",), "authenticate", "authenticated")
    if succeeds:
        return payments.charge(account, row, None)
    # Nothing was asked of the card: there is no charge.
    row.status = "requires_payment_method"
    row.last_payment_error = UNAUTHENTICATED
    row.next_action = None
    row.card = None
    account.intents.put(row)
    account.tell(None, "payment_intent.payment_failed", row)
    return row


def settle(account: Account, row: Intent, *, succeeds: bool | None) -> Intent:
    """The bank has decided; None: as the test account's name says. Raises Refused where it has
    nothing to decide."""
    _check_status(row, ("processing",), "settle", "settled")
    made = account.charge(str(row.latest_charge))
    card = account.card(made.card, row.customer)
    if not card.code if succeeds is None else succeeds:
        return payments.take(account, row, made, row.amount, None, "charge.succeeded")
    payments.decline(account, row, card if card.code else payments.RETURNED, None, made)
    return row


def cancel(account: Account, row: Intent, call: Call | None, reason: str | None) -> Intent:
    """What is not taken yet is given up; since 2025-03-31 without a refund of what was held.
    Raises Refused."""
    _check_status(row, CANCELABLE, "cancel", "canceled")
    if row.status == "processing":
        made = account.charge(str(row.latest_charge))
        made.status = "failed"
        account.charges.put(made)
    row.status = "canceled"
    row.canceled_at = account.now()
    row.cancellation_reason = reason
    row.amount_capturable = 0
    row.next_action = None
    account.intents.put(row)
    account.record("cancellation", row.id, call, metadata=row.metadata)
    account.tell(call, "payment_intent.canceled", row)
    return row


def expire(account: Account, row: Intent) -> Intent:
    """What was held is let go, a week later. Raises Refused where nothing is held."""
    _check_status(row, ("requires_capture",), "expire", "expired")
    account.tell(None, "charge.expired", account.charge(str(row.latest_charge)))
    return cancel(account, row, None, "expired")


def _check_status(row: Intent, allowed: tuple[str, ...], verb: str, participle: str) -> None:
    if row.status not in allowed:
        raise state(
            f"You cannot {verb} this PaymentIntent because it has a status of {row.status}. Only a"
            " PaymentIntent with one of the following statuses may be"
            f" {participle}: {', '.join(allowed)}.",
            payment_intent=shape(row),
        )
