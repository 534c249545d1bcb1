"""Payment intents: create, confirm, capture, cancel, retrieve."""

from collections.abc import Callable
from typing import Any

from sandbox.stripe import endings, payments
from sandbox.stripe.account import Account, Call, merged
from sandbox.stripe.cards import known
from sandbox.stripe.errors import Refused, state
from sandbox.stripe.money import check_amount
from sandbox.stripe.objects import Intent
from sandbox.stripe.shapes import shape

Work = Callable[[], Intent]

ONLY_WITH_CONFIRM = (
    "confirmation_token",
    "error_on_requires_action",
    "mandate",
    "mandate_data",
    "off_session",
    "return_url",
)
EXCLUDED_BY_ALLOWED = (
    "automatic_payment_methods",
    "excluded_payment_method_types",
    "payment_method_configuration",
)
NOT_FAKED = ("confirmation_token", "payment_method_data")
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(account: Account, call: Call) -> Work:
    """Raises Refused for whatever can be told before anything is done."""
    given = call.given
    check_amount(given["amount"], given["currency"])
    _check_parties(account, given)
    _check_combination(given)
    if given.get("confirm"):
        _check_payable(given, given)

    def work() -> Intent:
        row = _new(account, given)
        account.intents.put(row)
        account.tell(call, "payment_intent.created", row)
        return payments.pay(account, row, call) if given.get("confirm") else row

    return work


def _new(account: Account, given: dict[str, Any]) -> Intent:
    card = given.get("payment_method")
    return Intent(
        id=account.ids.new("pi_3"),
        created=account.now(),
        amount=given["amount"],
        currency=given["currency"],
        status="requires_confirmation" if card else "requires_payment_method",
        capture_method=given.get("capture_method", "automatic_async"),
        metadata=merged({}, given.get("metadata", {})),
        given={k: v for k, v in given.items() if k not in ("metadata", "expand")},
        customer=given.get("customer"),
        card=card,
    )


def _check_parties(account: Account, given: dict[str, Any]) -> None:
    if "customer" in given:
        account.customer(given["customer"])
    if "payment_method" in given:
        known(given["payment_method"])
    for name in NOT_FAKED:
        if name in given:
            raise Refused(
                400, f"This sandbox knows no {name}: use a test payment_method", param=name
            )


def _check_combination(given: dict[str, Any]) -> None:
    if "allowed_payment_method_types" in given:
        for other in EXCLUDED_BY_ALLOWED:
            if other in given:
                raise Refused(
                    400,
                    "You may only specify one of these parameters:"
                    f" allowed_payment_method_types, {other}.",
                    code="parameters_exclusive",
                    param=other,
                )
    for name in ONLY_WITH_CONFIRM:
        if name in given and not given.get("confirm"):
            raise Refused(400, f"`{name}` can only be used with `confirm=true`.", param=name)


def _check_payable(given: dict[str, Any], created_with: dict[str, Any]) -> None:
    """A confirmation from a server has to say where a payer comes back to, or that no payment
    method may send him away."""
    automatic = created_with.get("automatic_payment_methods", {})
    stays = automatic.get("allow_redirects") == "never" or automatic.get("enabled") is False
    cards_only = created_with.get("allowed_payment_method_types") == ["card"]
    if stays or cards_only or "return_url" in given:
        return
    raise Refused(
        400,
        "This PaymentIntent is configured to accept payment methods enabled in your Dashboard."
        " Because some of these payment methods might redirect your customer off of your page,"
        " you must provide a `return_url`. If you don't want to accept redirect-based payment"
        " methods, set `automatic_payment_methods[enabled]` to `true` and"
        " `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and"
        " Payment Intents.",
    )


def confirm(account: Account, call: Call) -> Work:
    """Raises Refused for whatever can be told before anything is done."""
    row = account.intent(call.id)
    _check_parties(account, call.given)
    _check_payable(call.given, row.given)

    def work() -> Intent:
        if row.status not in OPEN:
            raise state(
                f"You cannot confirm this PaymentIntent because it has a status of {row.status}.",
                payment_intent=shape(row),
            )
        row.card = call.given.get("payment_method", row.card)
        return payments.pay(account, row, call)

    return work


def capture(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown intent."""
    row = account.intent(call.id)
    return lambda: payments.capture(account, row, call)


def cancel(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown intent."""
    row = account.intent(call.id)
    return lambda: endings.cancel(account, row, call, call.given.get("cancellation_reason"))


def retrieve(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown intent."""
    row = account.intent(call.id)
    return lambda: row
