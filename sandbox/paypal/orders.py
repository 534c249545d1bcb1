"""Orders: create, retrieve, capture, authorize."""

from collections.abc import Callable
from typing import Any

from sandbox.paypal import payments
from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import invalid, unprocessable
from sandbox.paypal.money import minor
from sandbox.paypal.objects import Order
from sandbox.paypal.wallets import behaviour, token_of

Work = Callable[[], Order]
Unit = dict[str, Any]

SUBTRACTED = ("shipping_discount", "discount")


def create(account: Account, call: Call) -> Work:
    """Raises Refused for whatever can be told before anything is done."""
    given = call.given
    source = given.get("payment_source")
    if source is not None and not call.key:
        raise invalid("PAYPAL_REQUEST_ID_REQUIRED")
    _check_units(given["purchase_units"], given["intent"])
    token = token_of(source)

    def work() -> Order:
        row = _new(account, call)
        wallet = token and behaviour(token, account.settings.wallets)
        # An order that is made anyway can wait for its payer; all other refusals make none.
        if wallet and wallet.issue != "PAYER_ACTION_REQUIRED":
            payments.pay(account, row, wallet, call)
        account.orders.put(row)
        account.keep(call, "orders", row.id)
        return row

    return work


def _new(account: Account, call: Call) -> Order:
    given = call.given
    source = given.get("payment_source")
    now = account.now()
    return Order(
        id=account.new_id(),
        created=now,
        updated=now,
        intent=given["intent"],
        status="CREATED" if source is None else "PAYER_ACTION_REQUIRED",
        units=[{"reference_id": "default"} | unit for unit in given["purchase_units"]],
        source=source,
        context=given.get("application_context", {}),
        home=call.home,
    )


def _check_units(units: list[Unit], intent: str) -> None:
    if len(units) > 1 and intent == "AUTHORIZE":
        raise unprocessable("UNSUPPORTED_INTENT", "/intent", intent)
    names: set[str] = set()
    currency = units[0]["amount"]["currency_code"]
    for place, unit in enumerate(units):
        field = f"/purchase_units/{place}"
        _check_amount(unit, field)
        if unit["amount"]["currency_code"] != currency:
            raise unprocessable("MULTI_CURRENCY_ORDER", f"{field}/amount/currency_code")
        if len(units) > 1 and "reference_id" not in unit:
            raise unprocessable("REFERENCE_ID_REQUIRED", f"{field}/reference_id")
        name = unit.get("reference_id", "default")
        if name in names:
            raise unprocessable("DUPLICATE_REFERENCE_ID", f"{field}/reference_id", name)
        names.add(name)


def _check_amount(unit: Unit, field: str) -> None:
    """The amount, and that its parts and the items add up to it."""
    amount = minor(unit["amount"], f"{field}/amount")
    within = f"{field}/amount/breakdown"
    parts = {
        name: minor(part, f"{within}/{name}", zero=True)
        for name, part in unit["amount"].get("breakdown", {}).items()
    }
    if parts and amount != sum(-v if n in SUBTRACTED else v for n, v in parts.items()):
        raise unprocessable("AMOUNT_MISMATCH", f"{field}/amount/value", unit["amount"]["value"])
    items = unit.get("items", [])
    if items and "item_total" not in parts:
        raise unprocessable("ITEM_TOTAL_REQUIRED", f"{within}/item_total")
    total = sum(
        int(item["quantity"]) * minor(item["unit_amount"], f"{field}/items/{n}/unit_amount")
        for n, item in enumerate(items)
    )
    if items and total != parts["item_total"]:
        raise unprocessable("ITEM_TOTAL_MISMATCH", f"{within}/item_total")


def retrieve(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown order."""
    row = account.order(call.id)
    return lambda: row


def capture(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown order or payment source."""
    return _paying(account, call, "CAPTURE", "ORDER_ALREADY_CAPTURED")


def authorize(account: Account, call: Call) -> Work:
    """Raises Refused for an unknown order or payment source."""
    return _paying(account, call, "AUTHORIZE", "ORDER_ALREADY_AUTHORIZED")


def _paying(account: Account, call: Call, intent: str, done: str) -> Work:
    row = account.order(call.id)
    token = token_of(call.given.get("payment_source"))

    def work() -> Order:
        if row.intent != intent:
            raise unprocessable("ACTION_DOES_NOT_MATCH_INTENT")
        if row.status == "COMPLETED":
            raise unprocessable(done)
        if row.status == "VOIDED":
            raise unprocessable("ORDER_COMPLETED_OR_VOIDED")
        wallet = token or (row.wallet if row.status == "APPROVED" else None)
        if wallet is None:
            raise unprocessable("ORDER_NOT_APPROVED")
        payments.pay(account, row, behaviour(wallet, account.settings.wallets), call)
        account.keep(call, "orders", row.id)
        return row

    return work
