"""What PayPal is asked, of what the kinds of money ask us."""

from __future__ import annotations

import re

from adapters._base import Refused, Row
from adapters._payments import ChargeOrder, RefundOrder
from adapters._paypal import money

APPROVAL = "paypal"
"""The payment method of a payer who agrees on PayPal's own page; any other is a vaulted one."""
VAULTED = re.compile(r"[0-9a-zA-Z_-]{1,255}")
LONGEST_DESCRIPTION = 127


def check(order: ChargeOrder) -> None:
    """Raises Refused, naming the field, for what cannot be expressed at PayPal."""
    money(order.amount, order.currency)
    if order.payment_method != APPROVAL and not VAULTED.fullmatch(order.payment_method):
        raise _unfit("payment_method", f"a vaulted token's id, or `{APPROVAL}`")
    if order.description and len(order.description) > LONGEST_DESCRIPTION:
        raise _unfit("description", f"the vendor takes {LONGEST_DESCRIPTION} characters at most")


def order_body(order: ChargeOrder) -> Row:
    """An order that asks for the payment. PayPal has no place for an application's own metadata:
    that stays in the ledger. `custom_id` leads back to the job."""
    unit = {"custom_id": str(order.job_id), "amount": money(order.amount, order.currency)}
    if order.description:
        unit["description"] = order.description
    body: Row = {"intent": "CAPTURE" if order.capture else "AUTHORIZE", "purchase_units": [unit]}
    if order.payment_method == APPROVAL:
        context = {"user_action": "PAY_NOW", "shipping_preference": "NO_SHIPPING"}
        if order.return_url:
            context |= {"return_url": order.return_url, "cancel_url": order.return_url}
        body["payment_source"] = {"paypal": {"experience_context": context}}
    return body


def taking_body(order: ChargeOrder) -> Row:
    """What takes (or holds) the money of an order."""
    if order.payment_method == APPROVAL:
        return {}
    return {"payment_source": {"paypal": {"vault_id": order.payment_method}}}


def capture_body(amount: int, currency: str) -> Row:
    """Final, so that what is not taken is let go."""
    return {"amount": money(amount, currency), "final_capture": True}


def refund_body(order: RefundOrder) -> Row:
    """PayPal has no place for a reason but a note that the payer reads: it stays in the ledger."""
    return {"amount": money(order.amount, order.currency), "custom_id": str(order.job_id)}


def _unfit(field: str, problem: str) -> Refused:
    return Refused(f"{field}: {problem}", code="invalid_arguments")
