"""What does a person do in Stripe's web pages, or a payer in his bank's? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.stripe import keys, payments, refunds
from sandbox.stripe.account import Account
from sandbox.stripe.cards import ASKS, CARDS
from sandbox.stripe.errors import Refused
from sandbox.stripe.objects import Charge
from sandbox.stripe.shapes import Shape, shape
from sandbox.vendor import UnknownAction

Arguments = dict[str, Any]


def act(account: Account, action: str, arguments: Arguments) -> Shape:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"stripe has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](account, **arguments)
    except (TypeError, Refused) as error:
        raise UnknownAction(f"{action}: {error}") from None


def refund(
    account: Account,
    *,
    payment_intent: str | None = None,
    charge: str | None = None,
    amount: int | None = None,
) -> Shape:
    """Gives money back without the application's knowledge."""
    return shape(refunds.refund(account, _charge(account, payment_intent, charge), amount))


def dispute(
    account: Account, *, payment_intent: str | None = None, charge: str | None = None
) -> Shape:
    """The payer takes the money back by way of his bank."""
    row = _charge(account, payment_intent, charge)
    row.disputed = True
    account.charges.put(row)
    account.tell(None, "charge.updated", row)
    return shape(row)


def _charge(account: Account, payment_intent: str | None, charge: str | None) -> Charge:
    if payment_intent is not None:
        charge = account.intent(payment_intent).latest_charge
    return account.charge(str(charge))


def card(
    account: Account,
    *,
    payment_method: str,
    behaves_as: str = "pm_card_visa",
    customer: str | None = None,
) -> Shape:
    """From now on a payment method behaves like another one, for one customer or for all: a card
    is mended, or breaks."""
    if not {payment_method, behaves_as} <= CARDS.keys():
        raise UnknownAction(f"card: one of {', '.join(sorted(CARDS))}")
    name = f"{customer}:{payment_method}" if customer else payment_method
    account.settings.cards[name] = behaves_as
    return {name: behaves_as}


def authenticate(account: Account, *, payment_intent: str, succeeds: bool = True) -> Shape:
    """The payer does, or fails to do, what the payment asks of him."""
    row = account.intent(payment_intent)
    if row.status != "requires_action":
        raise UnknownAction(f"authenticate: {row.id} has a status of {row.status}")
    if succeeds:
        payments.charge(account, row, None)
    else:
        payments.decline(account, row, ASKS, None)
    return shape(row)


def settings(
    account: Account, *, key_seconds: int | None = None, search_lag: int | None = None
) -> Shape:
    """How long idempotency keys are kept, and how late search finds things, both in seconds."""
    if key_seconds is not None:
        account.settings.key_seconds = key_seconds
    if search_lag is not None:
        account.settings.search_lag = search_lag
    return {
        "key_seconds": account.settings.key_seconds,
        "search_lag": account.settings.search_lag,
    }


def forget_keys(account: Account, *, key: str | None = None) -> Shape:
    """A day passes for one idempotency key, or for all: the next request under it is a first."""
    return {"forgotten": keys.forget(account, key)}


ACTIONS: dict[str, Callable[..., Shape]] = {
    "authenticate": authenticate,
    "card": card,
    "dispute": dispute,
    "forget_keys": forget_keys,
    "refund": refund,
    "settings": settings,
}
