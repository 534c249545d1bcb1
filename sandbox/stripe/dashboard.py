"""What does a person do in Stripe's web pages, or a payer in his bank's? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.stripe import disputes, endings, keys, lists, refunds
from sandbox.stripe.account import Account
from sandbox.stripe.cards import CARDS
from sandbox.stripe.errors import Refused, missing
from sandbox.stripe.objects import Charge, Refund
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
    pending: bool = False,
) -> Shape:
    """Gives money back without the application's knowledge."""
    row = _charge(account, payment_intent, charge)
    return shape(refunds.refund(account, row, amount, pending=pending))


def succeed_refund(account: Account, *, refund: str) -> Shape:
    """A pending refund has arrived."""
    return shape(refunds.succeed(account, _refund(account, refund)))


def fail_refund(
    account: Account, *, refund: str, reason: str = "expired_or_canceled_card"
) -> Shape:
    """The payer's bank sends a refund back: the money is on the balance again."""
    return shape(refunds.fail(account, _refund(account, refund), reason))


def _refund(account: Account, id: str) -> Refund:
    if row := account.refunds.get(id):
        return row
    raise missing("refund", id, "refund")


def dispute(
    account: Account, *, payment_intent: str | None = None, charge: str | None = None
) -> Shape:
    """The payer takes the money back by way of his bank."""
    return shape(disputes.begin(account, _charge(account, payment_intent, charge)))


def close_dispute(
    account: Account,
    *,
    payment_intent: str | None = None,
    charge: str | None = None,
    outcome: str = "won",
) -> Shape:
    """The bank has decided the dispute: won by us, or lost."""
    if outcome not in ("won", "lost"):
        raise UnknownAction("close_dispute: outcome is won or lost")
    return shape(disputes.close(account, _charge(account, payment_intent, charge), outcome))


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
    return shape(endings.authenticate(account, row, succeeds=succeeds))


def settle(account: Account, *, payment_intent: str, succeeds: bool | None = None) -> Shape:
    """A bank decides about a payment that is processing; by default as its test account says."""
    return shape(endings.settle(account, account.intent(payment_intent), succeeds=succeeds))


def cancel(account: Account, *, payment_intent: str) -> Shape:
    """A person cancels a payment."""
    row = account.intent(payment_intent)
    return shape(endings.cancel(account, row, None, "requested_by_customer"))


def expire(account: Account, *, payment_intent: str) -> Shape:
    """A week passes: what was held is let go."""
    return shape(endings.expire(account, account.intent(payment_intent)))


def balance(account: Account) -> Shape:
    """What was captured less what was refunded, by currency, in Stripe's units."""
    return dict(lists.sums_of(account))


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
    "balance": balance,
    "cancel": cancel,
    "card": card,
    "close_dispute": close_dispute,
    "dispute": dispute,
    "expire": expire,
    "fail_refund": fail_refund,
    "forget_keys": forget_keys,
    "refund": refund,
    "settings": settings,
    "settle": settle,
    "succeed_refund": succeed_refund,
}
