"""Authorizations and captures: retrieve, capture what is held, void it."""

from collections.abc import Callable

from sandbox.paypal import payments
from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import unprocessable
from sandbox.paypal.money import minor
from sandbox.paypal.objects import Authorization, Capture

NOT_CAPTURABLE = {
    "CAPTURED": "AUTHORIZATION_ALREADY_CAPTURED",
    "VOIDED": "AUTHORIZATION_VOIDED",
    "DENIED": "AUTHORIZATION_DENIED",
    "PENDING": "TRANSACTION_REFUSED",
}
NOT_VOIDABLE = {"CAPTURED": "PREVIOUSLY_CAPTURED", "VOIDED": "PREVIOUSLY_VOIDED"}


def retrieve(account: Account, call: Call) -> Callable[[], Authorization]:
    """Raises Refused for an unknown authorization."""
    row = account.authorization(call.id)
    return lambda: row


def retrieve_capture(account: Account, call: Call) -> Callable[[], Capture]:
    """Raises Refused for an unknown capture."""
    row = account.capture(call.id)
    return lambda: row


def capture(account: Account, call: Call) -> Callable[[], Capture]:
    """Raises Refused for an unknown authorization and for an amount that cannot be."""
    row = account.authorization(call.id)
    amount = None
    if "amount" in call.given:
        amount = minor(call.given["amount"], "/amount")
        if call.given["amount"]["currency_code"] != row.currency:
            raise unprocessable("AUTH_CAPTURE_CURRENCY_MISMATCH", "/amount/currency_code")
    return lambda: _capture(account, row, amount, call)


def _capture(account: Account, row: Authorization, amount: int | None, call: Call) -> Capture:
    if issue := NOT_CAPTURABLE.get(row.status):
        raise unprocessable(issue)
    rest = row.amount - row.captured
    amount = rest if amount is None else amount
    if amount > rest:
        raise unprocessable("MAX_CAPTURE_AMOUNT_EXCEEDED", "/amount/value")
    invoice = call.given.get("invoice_id")
    payments.check_invoice(account, invoice, "", row.order)
    made = _new(account, row, amount, invoice or row.invoice_id)
    made.final = call.given.get("final_capture", False) or amount == rest
    row.captured += amount
    row.status = "CAPTURED" if made.final else "PARTIALLY_CAPTURED"
    row.updated = made.created
    row.captures.append(made.id)
    account.authorizations.put(row)
    order = account.orders.rows[row.order]
    order.captures.append(made.id)
    account.orders.put(order)
    account.keep(call, "captures", made.id)
    payments.taken(account, made, call)
    return made


def _new(account: Account, row: Authorization, amount: int, invoice: str | None) -> Capture:
    now = account.now()
    return Capture(
        id=account.new_id(),
        created=now,
        updated=now,
        order=row.order,
        unit=row.unit,
        authorization=row.id,
        amount=amount,
        currency=row.currency,
        status="PENDING" if account.settings.pending_captures else "COMPLETED",
        custom_id=row.custom_id,
        invoice_id=invoice,
    )


def void(account: Account, call: Call) -> Callable[[], Authorization]:
    """Raises Refused for an unknown authorization."""
    row = account.authorization(call.id)

    def work() -> Authorization:
        if issue := NOT_VOIDABLE.get(row.status):
            raise unprocessable(issue)
        row.status = "VOIDED"
        row.updated = account.now()
        account.authorizations.put(row)
        account.note_invoice(row)
        account.record("cancellation", row, call, order=row.order)
        account.tell("PAYMENT.AUTHORIZATION.VOIDED", row)
        return row

    return work
