"""What PayPal's events say about effects of ours. Its signature covers a checksum of the body only,
so none of it may be believed: it says what to look at again (`bound` is false).

https://developer.paypal.com/api/rest/webhooks/event-names/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from adapters import _paypal as words
from adapters._base import Event, News, Row, Unknown
from adapters._news import DisputeNews, PaymentNews, RefundNews

CAPTURE = re.compile(r"/payments/captures/([0-9A-Za-z]+)$")
# Of a dispute that is over: the money stays with us.
IN_OUR_FAVOUR = ("RESOLVED_SELLER_FAVOUR", "CANCELED_BY_BUYER", "DENIED")


def news(event: Event) -> Sequence[News]:
    """Nothing for what does not concern payments, or cannot be read."""
    read = next((r for begin, r in READERS.items() if event.type.startswith(begin)), None)
    resource = event.payload.get("resource")
    if read is None or not isinstance(resource, dict):
        return ()
    try:
        return tuple(read(event, resource))
    except (*words.UNREADABLE, Unknown):
        return ()


def _order(event: Event, order: Row) -> Iterator[News]:
    job = words.job(order["purchase_units"][0])
    yield PaymentNews(event.at, words.payment(order), job, bound=False)


def _authorization(event: Event, authorization: Row) -> Iterator[News]:
    yield _payment(event, authorization, words.AUTHORIZATION_STATUSES)


def _capture(event: Event, resource: Row) -> Iterator[News]:
    """A capture, or the refund that was made of one: both are called events of the capture."""
    if _refunded(resource) is not None:
        yield from _refund(event, resource)
    else:
        yield _payment(event, resource, words.CAPTURE_STATUSES)


def _refund(event: Event, refund: Row) -> Iterator[News]:
    told = words.refund_answer(refund)
    yield RefundNews(event.at, _refunded(refund), told, bound=False)


def _dispute(event: Event, dispute: Row) -> Iterator[News]:
    outcome = (dispute.get("dispute_outcome") or {}).get("outcome_code")
    disputed = outcome not in IN_OUR_FAVOUR
    for one in dispute["disputed_transactions"]:
        payment = words.id_of({"id": one["seller_transaction_id"]})
        yield DisputeNews(event.at, payment, disputed, bound=False)


def _payment(event: Event, part: Row, statuses: dict[str, str]) -> PaymentNews:
    told = replace(words.single(part, statuses), session=words.session_of(part))
    return PaymentNews(event.at, told, words.job(part), bound=False)


def _refunded(resource: Row) -> str | None:
    """The capture that a refund was made of."""
    links = [one for one in resource.get("links") or [] if one.get("rel") == "up"]
    found = [match[1] for one in links if (match := CAPTURE.search(one["href"]))]
    return found[0] if found else None


READERS: dict[str, Callable[[Event, Row], Iterator[News]]] = {
    "CHECKOUT.ORDER.": _order,
    "PAYMENT.AUTHORIZATION.": _authorization,
    "PAYMENT.CAPTURE.": _capture,
    "PAYMENT.REFUND.": _refund,
    "CUSTOMER.DISPUTE.": _dispute,
}
