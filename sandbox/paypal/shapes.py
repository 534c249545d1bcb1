"""How does each object look from outside? Rows in, the vendor's JSON out. Fees are left out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import orjson

from sandbox.paypal.money import minor, shown
from sandbox.paypal.objects import Authorization, Capture, Dispute, Event, Order, Refund

if TYPE_CHECKING:
    from sandbox.paypal.account import Account

API = "https://api-m.sandbox.paypal.com"
CHECKOUT = "/checkoutnow"
HELD_SECONDS = 29 * 86_400
PAYEE = {"email_address": "shop@example.com", "merchant_id": "SANDBXMERCH22"}
PAYER = {
    "email_address": "payer@example.com",
    "payer_id": "SANDBXPAYER22",
    "name": {"given_name": "Sandbox", "surname": "Payer"},
}
PROTECTION = {
    "status": "ELIGIBLE",
    "dispute_categories": ["ITEM_NOT_RECEIVED", "UNAUTHORIZED_TRANSACTION"],
}
Shape = dict[str, Any]


def moment(at: float, timespec: str = "seconds") -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def link(path: str, rel: str, method: str = "GET") -> dict[str, str]:
    return {"href": path if "://" in path else API + path, "rel": rel, "method": method}


def checkout(row: Order) -> str:
    """Where a payer approves an order."""
    return f"{row.home}{CHECKOUT}?token={row.id}"


def minimal(whole: Shape) -> Shape:
    """What is answered where nobody asked for the whole."""
    return {name: whole[name] for name in ("id", "status", "links")}


@singledispatch
def shape(row: object, account: Account) -> Shape:
    """The object as the API shows it."""
    raise TypeError(f"no shape for {type(row).__name__}")


@shape.register(Order)
def _order(row: Order, account: Account) -> Shape:
    paid = row.status in ("APPROVED", "COMPLETED")
    known: Shape = {"payer": PAYER} if paid else {}
    if paid or (row.source and "paypal" in row.source):
        known["payment_source"] = {"paypal": _wallet() if paid else {}}
    return known | {
        "id": row.id,
        "intent": row.intent,
        "status": row.status,
        "purchase_units": [_unit(row, unit, account) for unit in row.units],
        "create_time": moment(row.created),
        "update_time": moment(row.updated),
        "links": _order_links(row),
    }


def _wallet() -> Shape:
    return {
        "account_id": PAYER["payer_id"],
        "account_status": "VERIFIED",
        "email_address": PAYER["email_address"],
        "name": PAYER["name"],
    }


def _order_links(row: Order) -> list[dict[str, str]]:
    path = f"/v2/checkout/orders/{row.id}"
    links = [link(path, "self")]
    if row.status == "CREATED":
        links.append(link(checkout(row), "approve"))
    if row.status == "PAYER_ACTION_REQUIRED":
        links.append(link(checkout(row), "payer-action"))
    if row.status in ("CREATED", "APPROVED"):
        action = row.intent.lower()
        links += [link(path, "update", "PATCH"), link(f"{path}/{action}", action, "POST")]
    return links


def _unit(row: Order, unit: Shape, account: Account) -> Shape:
    name = unit["reference_id"]
    held = [account.authorizations.rows[number] for number in row.authorizations]
    taken = [account.captures.rows[number] for number in row.captures]
    taken = [one for one in taken if one.unit == name]
    back = [account.refunds.rows[number] for one in taken for number in one.refunds]
    payments = {
        "authorizations": [_held(one) for one in held if one.unit == name],
        "captures": [_taken(one) for one in taken],
        "refunds": [shape(one, account) for one in back],
    }
    amount = shown(minor(unit["amount"], ""), unit["amount"]["currency_code"])
    some = {name: rows for name, rows in payments.items() if rows}
    whole = {"payee": PAYEE} | unit | {"amount": unit["amount"] | amount}
    return whole | ({"payments": some} if some else {})


@shape.register(Authorization)
def _authorization(row: Authorization, account: Account) -> Shape:
    related = {"order_id": row.order}
    return _held(row) | {"payee": PAYEE, "supplementary_data": {"related_ids": related}}


def _held(row: Authorization) -> Shape:
    path = f"/v2/payments/authorizations/{row.id}"
    links = [link(path, "self"), link(f"/v2/checkout/orders/{row.order}", "up")]
    if row.status in ("CREATED", "PARTIALLY_CAPTURED"):
        links += [link(f"{path}/capture", "capture", "POST"), link(f"{path}/void", "void", "POST")]
    return _common(row) | {
        "expiration_time": moment(row.created + HELD_SECONDS),
        "seller_protection": PROTECTION,
        "links": links,
    }


def _common(row: Authorization | Capture | Refund) -> Shape:
    """What every payment says of itself."""
    given = {"custom_id": row.custom_id, "invoice_id": row.invoice_id}
    reasons = {Authorization: "PENDING_REVIEW", Capture: "PENDING_REVIEW", Refund: "ECHECK"}
    details = {"reason": reasons[row.__class__]} if row.status == "PENDING" else None
    return {
        "id": row.id,
        "status": row.status,
        "amount": shown(row.amount, row.currency),
        "create_time": moment(row.created),
        "update_time": moment(row.updated),
    } | {
        name: value
        for name, value in (given | {"status_details": details}).items()
        if value is not None
    }


@shape.register(Capture)
def _capture(row: Capture, account: Account) -> Shape:
    related = {"order_id": row.order}
    if row.authorization:
        related["authorization_id"] = row.authorization
    return _taken(row) | {"payee": PAYEE, "supplementary_data": {"related_ids": related}}


def _taken(row: Capture) -> Shape:
    path = f"/v2/payments/captures/{row.id}"
    up = (
        f"/v2/payments/authorizations/{row.authorization}"
        if row.authorization
        else f"/v2/checkout/orders/{row.order}"
    )
    gross = shown(row.amount, row.currency)
    return _common(row) | {
        "final_capture": row.final,
        "seller_protection": PROTECTION,
        "seller_receivable_breakdown": {"gross_amount": gross, "net_amount": gross},
        "links": [link(path, "self"), link(f"{path}/refund", "refund", "POST"), link(up, "up")],
    }


@shape.register(Refund)
def _refund(row: Refund, account: Account) -> Shape:
    capture = account.captures.rows[row.capture]
    gross = shown(row.amount, row.currency)
    note = {"note_to_payer": row.note} if row.note is not None else {}
    return (
        _common(row)
        | note
        | {
            "seller_payable_breakdown": {
                "gross_amount": gross,
                "net_amount": gross,
                "total_refunded_amount": shown(capture.refunded, row.currency),
            },
            "links": [
                link(f"/v2/payments/refunds/{row.id}", "self"),
                link(f"/v2/payments/captures/{row.capture}", "up"),
            ],
        }
    )


@shape.register(Dispute)
def _dispute(row: Dispute, account: Account) -> Shape:
    outcome = {"dispute_outcome": {"outcome_code": row.outcome}} if row.outcome else {}
    capture = account.captures.rows[row.capture]
    transaction = {"seller_transaction_id": row.capture, "custom": capture.custom_id}
    return outcome | {
        "dispute_id": row.id,
        "create_time": moment(row.created),
        "update_time": moment(row.updated),
        "disputed_transactions": [{k: v for k, v in transaction.items() if v is not None}],
        "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
        "status": "RESOLVED" if row.outcome else "OPEN",
        "dispute_amount": shown(row.amount, row.currency),
        "dispute_life_cycle_stage": "INQUIRY",
        "dispute_channel": "INTERNAL",
        "links": [link(f"/v1/customer/disputes/{row.id}", "self")],
    }


def event_shape(row: Event) -> Shape:
    path = f"/v1/notifications/webhooks-events/{row.id}"
    return {
        "id": row.id,
        "event_version": "1.0",
        "create_time": moment(row.at, "milliseconds"),
        "resource_type": row.resource_type,
        "resource_version": "2.0",
        "event_type": row.type,
        "summary": row.summary,
        "resource": orjson.Fragment(row.resource),
        "links": [link(path, "self"), link(f"{path}/resend", "resend", "POST")],
    }
