"""What PayPal shows of a payment, and what it tells by itself, when it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from adapters import _paypal as words
from adapters import _paypal_webhooks
from adapters._base import Call, Event, NoEvent, Refused, Row, Unknown
from adapters._payments import Known, Payment, RefundAnswer, Since
from adapters._paypal_wire import Wire, unread

ORDERS = "/v2/checkout/orders"
PAYMENTS = "/v2/payments"
EVENTS = "/v1/notifications/webhooks-events"

Told = TypeVar("Told")


class Looks(Wire):
    """The operations that change nothing."""

    async def read_payment(self, call: Call, known: Known) -> Payment:
        order = await self._behind(call, known)
        return replace(payment_of(order), refunds=_refunds_of(order))

    async def find_charge(self, call: Call, known: Known, since: Since) -> Payment | None:
        if known.session is None:
            return None  # no order was kept, so none was captured
        call.answered("order")
        try:
            found = payment_of(await self.order(call, known.session))
        except Refused:
            return None  # forgotten: see `charge`
        return None if found.vendor_reference is None or found.status == "failed" else found

    async def find_refund(self, call: Call, known: Known, since: Since) -> RefundAnswer | None:
        found = [
            refund
            for refund in _refunds_of(await self._behind(call, known))
            if refund.job == call.job_id and refund.status != "failed"
        ]
        if len(found) > 1:
            raise words.several()
        return found[0] if found else None

    async def events(self, call: Call, since: datetime, until: datetime) -> AsyncIterator[Event]:
        query: str | None = _paypal_webhooks.period(since, until)
        seen: set[str] = set()
        while query is not None and query not in seen:
            seen.add(query)
            page = await self.get(call, f"{EVENTS}?{query}")
            if not isinstance(listed := page.get("events") or [], list):
                raise unread()
            for one in listed:
                try:
                    yield _paypal_webhooks.event(one)
                except NoEvent:
                    continue
            query = _paypal_webhooks.following(page)

    async def read_event(self, call: Call, id: str) -> Event | None:
        """An event as PayPal tells it when asked: nobody else can have written that."""
        try:
            return _paypal_webhooks.event(await self.get(call, f"{EVENTS}/{quote(id, safe='')}"))
        except Refused:
            return None
        except NoEvent:
            raise unread() from None

    async def order(self, call: Call, session: str) -> Row:
        """Raises Refused `not_found`."""
        return await self.get(call, f"{ORDERS}/{quote(session, safe='')}")

    async def _behind(self, call: Call, known: Known) -> Row:
        """The order behind a payment, or the payment in the form of one where PayPal shows no
        order any more. Raises Refused `not_found`."""
        if (found := await self._if_there(call, known.session)) is not None:
            return found
        if known.payment is None:
            raise Refused(words.message("not_found"), code="not_found")
        kind, part = await self._alone(call, known.payment)
        session = words.session_of(part)
        if session != known.session and (found := await self._if_there(call, session)) is not None:
            return found
        if part.get("status") in words.REFUNDED:
            message = "the vendor does not show the refunds of this payment any more"
            raise Unknown(message, for_person=True)
        return words.as_order(kind, part, session or known.session)

    async def _if_there(self, call: Call, session: str | None) -> Row | None:
        try:
            return await self.order(call, session) if session is not None else None
        except Refused:
            return None

    async def _alone(self, call: Call, payment: str) -> tuple[str, Row]:
        """A payment without its order, and what kind it is."""
        named = quote(payment, safe="")
        try:
            return "captures", await self.get(call, f"{PAYMENTS}/captures/{named}")
        except Refused:
            return "authorizations", await self.get(call, f"{PAYMENTS}/authorizations/{named}")


def payment_of(order: Row) -> Payment:
    """What has become of an order that was read. Raises Unavailable, or Unknown for a person."""
    try:
        return words.payment(order)
    except words.UNREADABLE:
        raise unread() from None


def _refunds_of(order: Row) -> tuple[RefundAnswer, ...]:
    try:
        return words.refunds(order)
    except words.UNREADABLE:
        raise unread() from None
