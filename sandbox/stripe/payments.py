"""Does the money move? What a test card makes of a payment, and the later capture of one."""

from typing import Any

from sandbox.stripe import disputes
from sandbox.stripe.account import Account, Call, merged
from sandbox.stripe.cards import Card
from sandbox.stripe.errors import Refused, state
from sandbox.stripe.methods import payment_method_shape, type_of
from sandbox.stripe.money import shown
from sandbox.stripe.objects import Charge, Intent
from sandbox.stripe.shapes import shape

AUTHENTICATE = "/redirect/authenticate/"
RETURNED = Card("waits", "debit_not_authorized", message="Debits are not authorized.")
"""Why a debit fails whose test account says nothing of it."""


def pay(account: Account, row: Intent, call: Call) -> Intent:
    """Tries the intent's card. Raises Refused (402) where it declines; that is a result, too."""
    if row.card is None:
        raise state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can"
            " either update the PaymentIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method or ConfirmationToken.",
            payment_intent=shape(row),
        )
    card = account.card(row.card, row.customer)
    alone = call.given.get("off_session") or call.given.get("error_on_requires_action")
    if card.behaviour == "asks" and not alone:
        return _ask_payer(account, row, call)
    if card.behaviour == "waits":
        return _wait_for_bank(account, row, row.card, call)
    if card.behaviour == "succeeds":
        return charge(account, row, call)
    raise decline(account, row, card, call)


def _ask_payer(account: Account, row: Intent, call: Call) -> Intent:
    row.status = "requires_action"
    back = call.given.get("return_url")
    redirect = {"return_url": back, "url": f"{call.home}{AUTHENTICATE}{row.id}"}
    row.next_action = (
        {"redirect_to_url": redirect, "type": "redirect_to_url"}
        if back
        else {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    )
    account.intents.put(row)
    account.tell(call, "payment_intent.requires_action", row)
    return row


def _wait_for_bank(account: Account, row: Intent, token: str, call: Call) -> Intent:
    """A debit is on its way; days later the bank says what came of it."""
    _check_debit(row, token)
    made = _new_charge(account, row, "pending")
    row.status = "processing"
    row.last_payment_error = None
    account.charges.put(made)
    account.intents.put(row)
    account.tell(call, "charge.pending", made)
    account.tell(call, "payment_intent.processing", row)
    return row


def _check_debit(row: Intent, token: str) -> None:
    kind = type_of(token)
    types = row.given.get("allowed_payment_method_types", [kind])
    if row.currency != "usd" or row.capture_method == "manual" or kind not in types:
        raise Refused(
            400,
            f"The payment method type {kind} cannot be used with this PaymentIntent: its currency,"
            " its capture method or its allowed types exclude it.",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
        )


def _new_charge(account: Account, row: Intent, status: str) -> Charge:
    assert row.card is not None
    assert row.payment_method is not None
    begin = "ch_3" if type_of(row.card) == "card" else "py_3"
    made = Charge(
        id=account.ids.new(begin),
        created=account.now(),
        intent=row.id,
        customer=row.customer,
        amount=row.amount,
        currency=row.currency,
        status=status,
        payment_method=row.payment_method,
        card=row.card,
        description=row.given.get("description"),
        metadata=dict(row.metadata),
    )
    row.latest_charge = made.id
    row.next_action = None
    return made


def charge(account: Account, row: Intent, call: Call | None) -> Intent:
    """The card pays: now, or with a manual capture method when it is captured."""
    made = _new_charge(account, row, "succeeded")
    row.last_payment_error = None
    if row.capture_method == "manual":
        row.status = "requires_capture"
        row.amount_capturable = row.amount
        account.charges.put(made)
        account.intents.put(row)
        _record(account, "authorization", row, made, row.amount, call)
        account.tell(call, "charge.succeeded", made)
        account.tell(call, "payment_intent.amount_capturable_updated", row)
        return row
    return take(account, row, made, row.amount, call, "charge.succeeded")


def take(
    account: Account, row: Intent, made: Charge, amount: int, call: Call | None, event: str
) -> Intent:
    """The money moves. `event`: what is told about the charge."""
    made.status = "succeeded"
    made.captured = True
    made.amount_captured = amount
    row.status = "succeeded"
    row.amount_received = amount
    row.amount_capturable = 0
    account.charges.put(made)
    account.intents.put(row)
    _record(account, "charge", row, made, amount, call)
    account.tell(call, event, made)
    account.tell(call, "payment_intent.succeeded", row)
    if account.card(made.card, row.customer).disputed:
        disputes.begin(account, made)
    return row


def _record(
    account: Account, kind: str, row: Intent, made: Charge, amount: int, call: Call | None
) -> None:
    account.record(
        kind,
        row.id,
        call,
        charge=made.id,
        amount=amount,
        currency=row.currency,
        customer=row.customer,
        metadata=row.metadata,
    )


def decline(
    account: Account, row: Intent, card: Card, call: Call | None, made: Charge | None = None
) -> Refused:
    """It is not paid, by a new charge or the one that waited. Returns the 402 to be raised."""
    made = made or _new_charge(account, row, "failed")
    made.status = "failed"
    made.failure_code = card.code
    made.failure_message = card.message
    made.decline_code = card.decline_code or None
    error: dict[str, Any] = {
        "charge": made.id,
        "decline_code": made.decline_code,
        "payment_method": payment_method_shape(
            made.payment_method, made.card, row.customer, made.created
        ),
    }
    row.status = "requires_payment_method"
    row.last_payment_error = error | {
        "code": card.code,
        "message": card.message,
        "type": "card_error" if card.decline_code else "invalid_request_error",
    }
    row.card = None
    account.charges.put(made)
    account.intents.put(row)
    account.tell(call, "charge.failed", made)
    account.tell(call, "payment_intent.payment_failed", row)
    return Refused(
        402, card.message, type="card_error", code=card.code, payment_intent=shape(row), **error
    )


def capture(account: Account, row: Intent, call: Call) -> Intent:
    """Takes what was authorised, or less. Raises Refused."""
    if row.status != "requires_capture" or row.latest_charge is None:
        raise state(
            "This PaymentIntent could not be captured because it has a status of"
            f" {row.status}. Only a PaymentIntent with one of the following statuses may be"
            " captured: requires_capture.",
            payment_intent=shape(row),
        )
    amount = call.given.get("amount_to_capture", row.amount_capturable)
    if amount > row.amount_capturable:
        raise Refused(
            400,
            "The amount to capture is greater than the remaining amount on this PaymentIntent"
            f" ({shown(row.amount_capturable, row.currency)}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    row.metadata = merged(row.metadata, call.given.get("metadata", {}))
    made = account.charge(row.latest_charge)
    return take(account, row, made, amount, call, "charge.captured")
