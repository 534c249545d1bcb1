"""Disputes: opened and ended by the payer, looked at by the seller."""

from collections.abc import Callable

from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import missing, unprocessable
from sandbox.paypal.objects import Capture, Dispute
from sandbox.paypal.shapes import Shape, link, shape

OUTCOMES = {"SELLER": "RESOLVED_SELLER_FAVOUR", "BUYER": "RESOLVED_BUYER_FAVOUR"}


def listed(account: Account, call: Call) -> Callable[[], Shape]:
    """Those of one transaction, or all, newest first."""
    wanted = call.given.get("disputed_transaction_id")
    rows = [row for row in account.disputes.newest_first() if wanted in (None, row.capture)]
    path = "/v1/customer/disputes"
    return lambda: {"items": [shape(row, account) for row in rows], "links": [link(path, "self")]}


def retrieve(account: Account, call: Call) -> Callable[[], Dispute]:
    """Raises Refused for an unknown dispute."""
    row = account.disputes.get(call.id)
    if row is None:
        raise missing(call.id)
    return lambda: row


def open_dispute(account: Account, capture: Capture) -> Dispute:
    """The payer wants his money back. Raises Refused for what is disputed already."""
    if capture.dispute:
        raise unprocessable("TRANSACTION_DISPUTED")
    now = account.now()
    number = account.ids.new("", 6)
    rest = capture.amount - capture.refunded
    row = Dispute(f"PP-D-{int(number, 16)}", now, now, capture.id, rest, capture.currency)
    account.disputes.put(row)
    capture.dispute = row.id
    account.captures.put(capture)
    account.tell("CUSTOMER.DISPUTE.CREATED", row)
    return row


def resolve(account: Account, row: Dispute, favour: str) -> Dispute:
    """PayPal has decided. The money of a lost dispute is no part of this fake's balance."""
    row.outcome = OUTCOMES[favour]
    row.updated = account.now()
    account.disputes.put(row)
    capture = account.captures.rows[row.capture]
    capture.dispute = None
    account.captures.put(capture)
    account.tell("CUSTOMER.DISPUTE.RESOLVED", row)
    return row
