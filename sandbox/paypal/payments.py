"""Does the money move? What a wallet makes of an order, and what a bank decides later."""

from typing import Any

from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import Refused, detail, refused, unprocessable
from sandbox.paypal.money import minor
from sandbox.paypal.objects import Authorization, Capture, Order
from sandbox.paypal.shapes import checkout
from sandbox.paypal.wallets import Wallet

CAPTURE_EVENTS = {
    "COMPLETED": "PAYMENT.CAPTURE.COMPLETED",
    "PENDING": "PAYMENT.CAPTURE.PENDING",
    "DECLINED": "PAYMENT.CAPTURE.DECLINED",
}


def pay(account: Account, row: Order, wallet: Wallet, call: Call) -> Order:
    """Takes what the order asks for, or holds it. Raises Refused where the wallet does not pay."""
    if wallet.issue == "PAYER_ACTION_REQUIRED":
        raise _ask_payer(account, row)
    if wallet.issue is not None:
        raise unprocessable(wallet.issue)
    for place, unit in enumerate(row.units):
        check_invoice(account, unit.get("invoice_id"), f"/purchase_units/{place}", row.id)
    row.status = "COMPLETED"
    row.updated = account.now()
    for unit in row.units:
        if row.intent == "CAPTURE":
            _capture(account, row, unit, wallet, call)
        else:
            _hold(account, row, unit, wallet, call)
    return row


def _ask_payer(account: Account, row: Order) -> Refused:
    """The payer has to look at it himself, and the order waits for him."""
    row.status = "PAYER_ACTION_REQUIRED"
    row.updated = account.now()
    account.orders.put(row)
    return refused(422, detail("PAYER_ACTION_REQUIRED"), payer_action=checkout(row))


def check_invoice(account: Account, invoice: str | None, field: str, order: str) -> None:
    """Raises Refused where another order was paid under this invoice: by the usual setting of an
    account each is paid once."""
    if invoice is not None and account.invoices.get(invoice, order) != order:
        raise unprocessable("DUPLICATE_INVOICE_ID", f"{field}/invoice_id", invoice)


def _new(account: Account, row: Order, unit: dict[str, Any]) -> dict[str, Any]:
    """What a capture and an authorization of a purchase unit have in common."""
    now = account.now()
    return {
        "id": account.new_id(),
        "created": now,
        "updated": now,
        "order": row.id,
        "unit": unit["reference_id"],
        "amount": minor(unit["amount"], ""),
        "currency": unit["amount"]["currency_code"],
        "custom_id": unit.get("custom_id"),
        "invoice_id": unit.get("invoice_id"),
    }


def _capture(
    account: Account, row: Order, unit: dict[str, Any], wallet: Wallet, call: Call
) -> None:
    status = wallet.capture
    if status == "COMPLETED" and account.settings.pending_captures:
        status = "PENDING"
    made = Capture(**_new(account, row, unit), authorization=None, status=status)
    row.captures.append(made.id)
    account.orders.put(row)
    taken(account, made, call)


def taken(account: Account, made: Capture, call: Call | None) -> None:
    """A capture has come to stand as its status says: told, and logged once money has moved."""
    account.captures.put(made)
    account.note_invoice(made)
    if made.status == "COMPLETED":
        account.record("charge", made, call, order=made.order, authorization=made.authorization)
    account.tell(CAPTURE_EVENTS[made.status], made)


def _hold(account: Account, row: Order, unit: dict[str, Any], wallet: Wallet, call: Call) -> None:
    made = Authorization(**_new(account, row, unit), status=wallet.authorization)
    row.authorizations.append(made.id)
    account.orders.put(row)
    held(account, made, call)


def held(account: Account, made: Authorization, call: Call | None) -> None:
    """An authorization has come to stand as its status says."""
    account.authorizations.put(made)
    account.note_invoice(made)
    if made.status == "CREATED":
        account.record("authorization", made, call, order=made.order)
    if made.status in ("CREATED", "PENDING"):
        account.tell("PAYMENT.AUTHORIZATION.CREATED", made)


def settle_capture(account: Account, row: Capture, succeeds: bool) -> None:
    """The bank of a pending capture has decided."""
    row.status = "COMPLETED" if succeeds else "DECLINED"
    row.updated = account.now()
    taken(account, row, None)


def settle_authorization(account: Account, row: Authorization, succeeds: bool) -> None:
    """The bank of a pending authorization has decided."""
    row.status = "CREATED" if succeeds else "DENIED"
    row.updated = account.now()
    held(account, row, None)
