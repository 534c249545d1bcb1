"""PayPal's words and amounts, and ours. Facts: https://developer.paypal.com/api/rest/"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import orjson

from adapters._base import Refused, Response, Row, Unknown
from adapters._payments import Payment, RefundAnswer
from adapters._paypal_issues import CODES
from ferryman.money import exponent, to_minor

# https://developer.paypal.com/api/rest/reference/currency-codes/
CURRENCIES = frozenset(
    (
        *("aud", "brl", "cad", "chf", "cny", "czk", "dkk", "eur", "gbp", "hkd", "huf", "ils"),
        *("jpy", "mxn", "myr", "nok", "nzd", "php", "pln", "sek", "sgd", "thb", "twd", "usd"),
    )
)
# Here PayPal takes no decimals. ISO 4217 has two of forints and of Taiwan dollars.
WHOLE = frozenset({"huf", "jpy", "twd"})
VALUE = re.compile(r"[0-9]{1,30}(\.[0-9]{1,3})?")

CAPTURE_STATUSES = {
    "COMPLETED": "succeeded",
    "PARTIALLY_REFUNDED": "succeeded",
    "REFUNDED": "succeeded",
    "PENDING": "processing",
    "DECLINED": "failed",
    "FAILED": "failed",
}
AUTHORIZATION_STATUSES = {
    "CREATED": "authorized",
    "PENDING": "processing",
    "CAPTURED": "succeeded",
    "PARTIALLY_CAPTURED": "succeeded",
    "VOIDED": "cancelled",
    "EXPIRED": "cancelled",
    "DENIED": "failed",
}
# Of an order without a payment. One that is approved waits for us, not for its payer.
ORDER_STATUSES = {
    "CREATED": "requires_action",
    "PAYER_ACTION_REQUIRED": "requires_action",
    "VOIDED": "cancelled",
}
REFUND_STATUSES = {
    "COMPLETED": "succeeded",
    "PENDING": "pending",
    "FAILED": "failed",
    "CANCELLED": "failed",
}
REFUNDED = ("REFUNDED", "PARTIALLY_REFUNDED")
APPROVED = "APPROVED"
ACTION_LINKS = ("payer-action", "approve")
# What an answer that is not as the reference says raises in here.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


def money(amount: int, currency: str) -> Row:
    """Minor units of ISO 4217 as PayPal writes them. Raises Refused for what it does not take."""
    if currency.lower() not in CURRENCIES:
        raise Refused("currency: the vendor does not take it", code="currency_not_supported")
    value = Decimal(amount).scaleb(-exponent(currency))
    if currency.lower() in WHOLE:
        if value != value.to_integral_value():
            raise Refused("amount: the vendor takes whole units only", code="invalid_amount")
        value = value.quantize(Decimal(1))
    return {"currency_code": currency.upper(), "value": f"{value:f}"}


def minor(theirs: Row) -> tuple[int, str]:
    """PayPal's amount in minor units of ISO 4217, and its currency."""
    currency, value = theirs["currency_code"].lower(), theirs["value"]
    if not VALUE.fullmatch(value):
        raise ValueError("no amount")
    return to_minor(value, currency), currency


def document(answer: Response) -> Row | None:
    """An answer's JSON object, or None."""
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None


def as_order(kind: str, part: Row, session: str | None) -> Row:
    """A capture or authorization that came alone, as the order within which it is read."""
    unit = {"amount": part.get("amount"), "payments": {kind: [part]}}
    return {"id": session, "status": "COMPLETED", "purchase_units": [unit]}


def payment(order: Row) -> Payment:
    """What has become of an order. Raises one of UNREADABLE, or Unknown where there is more than
    one payment in it."""
    captures = _ranked(_parts(order, "captures"), CAPTURE_STATUSES)
    holds = _ranked(_parts(order, "authorizations"), AUTHORIZATION_STATUSES)
    if len(good := [one for one in captures if one.status != "failed"]) > 1:
        raise several()
    standing = [one for one in holds if one.status != "failed"][-1:]
    if not good and standing and standing[0].status == "succeeded":
        raise Unknown("the vendor does not show what was taken", for_person=True)
    found = (good or standing or captures or holds or [_nothing(order)])[-1]
    owner = found.job or job(order["purchase_units"][0])
    return replace(found, session=order["id"], job=owner)


def made(order: Row) -> Row:
    """The answer to an order step: an order that can be read."""
    id_of(order)
    payment(order)
    return order


def taken(order: Row) -> Payment:
    """What the answer to a charge step tells: an order with a payment in it."""
    if (told := payment(order)).vendor_reference is None:
        raise LookupError("no payment")
    return told


def refunds(order: Row) -> tuple[RefundAnswer, ...]:
    return tuple(refund_answer(one) for one in _parts(order, "refunds"))


def refund_answer(refund: Row) -> RefundAnswer:
    amount, currency = minor(refund["amount"])
    return RefundAnswer(
        vendor_reference=id_of(refund),
        status=REFUND_STATUSES.get(refund["status"], "pending"),
        amount=amount,
        currency=currency,
        created_at=moment(refund),
        job=job(refund),
    )


def id_of(theirs: Row) -> str:
    """PayPal's name for it."""
    if not isinstance(found := theirs["id"], str) or not found:
        raise ValueError("no id")
    return found


def job(theirs: Row) -> UUID | None:
    """Which of our jobs made it, by what it carries."""
    try:
        return UUID(theirs["custom_id"])
    except UNREADABLE:
        return None


def moment(theirs: Row) -> datetime:
    """When PayPal made it. Of a short answer, which has no time: now."""
    if (text := theirs.get("create_time")) is None:
        return datetime.now(UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def action_url(theirs: Row) -> str | None:
    """Where the payer agrees, by an order's links or those of a refusal."""
    try:
        links = [one["href"] for one in theirs["links"] if one["rel"] in ACTION_LINKS]
    except UNREADABLE:
        return None
    return str(links[0]) if links else None


def session_of(part: Row) -> str | None:
    """The order that a capture or authorization belongs to, where it says so."""
    try:
        return str(part["supplementary_data"]["related_ids"]["order_id"])
    except UNREADABLE:
        return None


def single(part: Row, statuses: dict[str, str]) -> Payment:
    """One capture or authorization; of a word that nobody knows, nothing is proven yet."""
    amount, currency = minor(part["amount"])
    status = statuses.get(part["status"], "processing")
    code = "card_declined" if status == "failed" else None
    return Payment(id_of(part), status, amount, currency, moment(part), code=code, job=job(part))


def issue(answer: Response) -> str:
    """PayPal's word for a refusal; of several, one that we know."""
    told = document(answer) or {}
    details = told.get("details")
    details = details if isinstance(details, list) else []
    named = [one.get("issue") for one in details if isinstance(one, dict)]
    words = [str(one) for one in (*named, told.get("name"), told.get("error")) if one]
    return next((word for word in words if word in CODES), words[0] if words else "")


def code(answer: Response) -> str:
    """Our code for a refusal."""
    return CODES.get(issue(answer), "not_found" if answer.status == 404 else "refused")


def message(word: str) -> str:
    return f"the vendor refused: {word.replace('_', ' ')}"


def refused(word: str | None) -> Refused:
    """A refusal that came within a good answer."""
    return Refused(message(word or "refused"), code=word)


def several() -> Unknown:
    return Unknown(
        "the vendor shows more than one effect of this job",
        code="several_effects",
        for_person=True,
    )


def _parts(order: Row, kind: str) -> list[Row]:
    units = order["purchase_units"]
    return [part for unit in units for part in (unit.get("payments") or {}).get(kind) or []]


def _ranked(parts: Sequence[Row], statuses: dict[str, str]) -> list[Payment]:
    """Oldest first: of an authorization that was renewed, the newest stands."""
    return sorted((single(one, statuses) for one in parts), key=lambda one: one.created_at)


def _nothing(order: Row) -> Payment:
    """An order by which nothing was taken or held."""
    amount, currency = minor(order["purchase_units"][0]["amount"])
    status = ORDER_STATUSES.get(order["status"], "processing")
    url = action_url(order) if status == "requires_action" else None
    return Payment(None, status, amount, currency, moment(order), action_url=url)
