"""What does a person do in PayPal's web pages, a payer in his, or a bank? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.paypal import disputes, keys, payments, refunds
from sandbox.paypal.account import Account
from sandbox.paypal.errors import Refused
from sandbox.paypal.objects import Capture, Order
from sandbox.paypal.shapes import Shape, shape
from sandbox.paypal.wallets import known
from sandbox.vendor import UnknownAction

Arguments = dict[str, Any]
WAITING = ("CREATED", "PAYER_ACTION_REQUIRED")


def act(account: Account, action: str, arguments: Arguments) -> Shape:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"paypal has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](account, **arguments)
    except (TypeError, Refused) as error:
        raise UnknownAction(f"{action}: {error}") from None


def approve(account: Account, *, order: str, behaves_as: str = "vault_ok") -> Shape:
    """The payer agrees; what his wallet does later is as this test token's."""
    row = _waiting(account, "approve", order)
    row.wallet = _known("approve", behaves_as)
    row.status = "APPROVED"
    row.updated = account.now()
    account.orders.put(row)
    account.tell("CHECKOUT.ORDER.APPROVED", row)
    return shape(row, account)


def deny(account: Account, *, order: str) -> Shape:
    """The payer does not agree: nothing can be paid by this order any more."""
    row = _waiting(account, "deny", order)
    row.status = "VOIDED"
    row.updated = account.now()
    account.orders.put(row)
    return shape(row, account)


def expire(account: Account, *, order: str) -> Shape:
    """An order that nobody paid is gone, as after PayPal's hours."""
    row = account.order(order)
    if row.status == "COMPLETED":
        raise UnknownAction(f"expire: {row.id} is COMPLETED")
    row.expired = True
    account.orders.put(row)
    return {"expired": row.id}


def _waiting(account: Account, action: str, order: str) -> Order:
    row = account.order(order)
    if row.status not in WAITING:
        raise UnknownAction(f"{action}: {row.id} is {row.status}")
    return row


def _known(action: str, token: str) -> str:
    if known(token) is None:
        raise UnknownAction(f"{action}: no test token {token!r}")
    return token


def settle(account: Account, *, id: str, succeeds: bool = True) -> Shape:
    """A bank decides on what is pending: a capture, an authorization or a refund."""
    for table, decide in (
        (account.captures, payments.settle_capture),
        (account.authorizations, payments.settle_authorization),
        (account.refunds, refunds.settle),
    ):
        row: Any = table.get(id)
        if row is not None and row.status == "PENDING":
            decide(account, row, succeeds)
            return shape(row, account)
    raise UnknownAction(f"settle: {id} is nothing that is pending")


def refund(
    account: Account,
    *,
    capture: str | None = None,
    order: str | None = None,
    amount: int | None = None,
) -> Shape:
    """Gives money back without the application's knowledge; `amount` in minor units."""
    row = refunds.refund(account, _capture(account, capture, order), amount, None)
    return shape(row, account)


def dispute(account: Account, *, capture: str | None = None, order: str | None = None) -> Shape:
    """The payer wants his money back by way of PayPal."""
    return shape(disputes.open_dispute(account, _capture(account, capture, order)), account)


def resolve(
    account: Account,
    *,
    capture: str | None = None,
    order: str | None = None,
    favour: str = "SELLER",
) -> Shape:
    """PayPal decides the open dispute, for the SELLER or the BUYER."""
    row = _capture(account, capture, order)
    if favour not in disputes.OUTCOMES or not row.dispute:
        raise UnknownAction("resolve: an open dispute and SELLER or BUYER are expected")
    return shape(disputes.resolve(account, account.disputes.rows[row.dispute], favour), account)


def _capture(account: Account, capture: str | None, order: str | None) -> Capture:
    if order is not None:
        capture = next(iter(account.order(order).captures), None)
    return account.capture(str(capture))


def wallet(account: Account, *, token: str, behaves_as: str = "vault_ok") -> Shape:
    """From now on a test token behaves like another one: a wallet is mended, or breaks."""
    account.settings.wallets[_known("wallet", token)] = str(known(_known("wallet", behaves_as)))
    return {token: behaves_as}


def settings(account: Account, **changes: int | bool) -> Shape:
    """Times in seconds and whether captures and refunds are pending at first."""
    if wrong := changes.keys() - SETTINGS:
        raise UnknownAction(f"settings: no {', '.join(wrong)}; there are {', '.join(SETTINGS)}")
    for name, value in changes.items():
        setattr(account.settings, name, value)
    return {name: getattr(account.settings, name) for name in SETTINGS}


SETTINGS = (
    "order_key_seconds",
    "payment_key_seconds",
    "token_seconds",
    "pending_captures",
    "pending_refunds",
)


def forget_keys(account: Account, *, key: str | None = None) -> Shape:
    """Weeks pass for one PayPal-Request-Id, or for all: the next request under it is a first."""
    return {"forgotten": keys.forget(account, key)}


def expire_tokens(account: Account) -> Shape:
    """No access token is valid any more."""
    for row in account.tokens.rows.values():
        row.expires = 0
        account.tokens.put(row)
    return {"expired": len(account.tokens.rows)}


def balance(account: Account) -> Shape:
    """What was taken less what was given back, by currency, in minor units: `{"usd": 1250}`."""
    sums: dict[str, int] = {}
    for row in account.captures.rows.values():
        if row.status not in ("PENDING", "DECLINED"):
            name = row.currency.lower()
            sums[name] = sums.get(name, 0) + row.amount - row.refunded
    return sums


ACTIONS: dict[str, Callable[..., Shape]] = {
    "approve": approve,
    "balance": balance,
    "deny": deny,
    "dispute": dispute,
    "expire": expire,
    "expire_tokens": expire_tokens,
    "forget_keys": forget_keys,
    "refund": refund,
    "resolve": resolve,
    "settings": settings,
    "settle": settle,
    "wallet": wallet,
}
