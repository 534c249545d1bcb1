"""Refunds: never more than what is left of a capture, pending ones included."""

from collections.abc import Callable

from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import unprocessable
from sandbox.paypal.money import minor
from sandbox.paypal.objects import Capture, Refund

NOT_REFUNDABLE = {"PENDING": "PENDING_CAPTURE", "DECLINED": "REFUND_NOT_ALLOWED"}
EVENTS = {
    "COMPLETED": "PAYMENT.CAPTURE.REFUNDED",
    "PENDING": "PAYMENT.REFUND.PENDING",
    "FAILED": "PAYMENT.REFUND.FAILED",
}


def retrieve(account: Account, call: Call) -> Callable[[], Refund]:
    """Raises Refused for an unknown refund."""
    row = account.refund(call.id)
    return lambda: row


def create(account: Account, call: Call) -> Callable[[], Refund]:
    """Raises Refused for an unknown capture and for an amount that cannot be."""
    capture = account.capture(call.id)
    amount = None
    if "amount" in call.given:
        amount = minor(call.given["amount"], "/amount")
        if call.given["amount"]["currency_code"] != capture.currency:
            raise unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH", "/amount/currency_code")
    return lambda: refund(account, capture, amount, call)


def refund(account: Account, capture: Capture, amount: int | None, call: Call | None) -> Refund:
    """Gives back `amount`, or all that is left; `call` is None for what a person does.

    Raises Refused."""
    amount = _allowed(capture, amount)
    given = call.given if call else {}
    invoice = given.get("invoice_id")
    if invoice in account.refund_invoices:
        raise unprocessable("DUPLICATE_INVOICE_ID", "/invoice_id", invoice)
    now = account.now()
    row = Refund(
        id=account.new_id(),
        created=now,
        updated=now,
        capture=capture.id,
        amount=amount,
        currency=capture.currency,
        status="PENDING",
        custom_id=given.get("custom_id"),
        invoice_id=invoice,
        note=given.get("note_to_payer"),
    )
    capture.reserved += amount
    capture.refunds.append(row.id)
    if call:
        account.keep(call, "refunds", row.id)
    if account.settings.pending_refunds:
        _tell(account, row, capture)
    else:
        settle(account, row, True, call)
    return row


def _allowed(capture: Capture, amount: int | None) -> int:
    rest = capture.amount - capture.refunded - capture.reserved
    if issue := NOT_REFUNDABLE.get(capture.status):
        raise unprocessable(issue)
    if rest == 0:
        raise unprocessable("CAPTURE_FULLY_REFUNDED")
    if amount is not None and amount > rest:
        raise unprocessable("REFUND_AMOUNT_EXCEEDED", "/amount/value")
    if capture.dispute and amount is not None and amount < rest:
        raise unprocessable("TRANSACTION_DISPUTED")
    return rest if amount is None else amount


def settle(account: Account, row: Refund, succeeds: bool, call: Call | None = None) -> None:
    """A refund that was pending is done, or has failed: then the money stays."""
    capture = account.captures.rows[row.capture]
    capture.reserved -= row.amount
    row.status = "COMPLETED" if succeeds else "FAILED"
    row.updated = account.now()
    if succeeds:
        capture.refunded += row.amount
        whole = capture.refunded == capture.amount
        capture.status = "REFUNDED" if whole else "PARTIALLY_REFUNDED"
        capture.updated = row.updated
    _tell(account, row, capture)
    if succeeds:
        account.record("refund", row, call, capture=capture.id, order=capture.order)


def _tell(account: Account, row: Refund, capture: Capture) -> None:
    account.captures.put(capture)
    account.refunds.put(row)
    account.note_invoice(row)
    account.tell(EVENTS[row.status], row)
