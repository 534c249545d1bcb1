"""What does one PayPal account hold? Its rows, settings, and what it tells about its doings."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.paypal.errors import missing
from sandbox.paypal.objects import (
    Authorization,
    Capture,
    Dispute,
    Event,
    Order,
    Refund,
    Settings,
    Token,
    Used,
)
from sandbox.paypal.shapes import event_shape, shape
from sandbox.store import Table
from sandbox.vendor import World

EVENTS_KEPT = 10_000
GONE = ("DECLINED", "DENIED", "VOIDED", "FAILED")
"""Statuses of what moves no money: an invoice may be paid, or refunded, again."""


@dataclass(slots=True)
class Call:
    """One request, checked: its path with the `{id}` in it, its fields or query, its key, and
    whether the whole object is wanted as the answer. `body` is as it came; below `home` are the
    pages for payers."""

    path: str
    id: str
    given: dict[str, Any]
    key: str | None = None
    whole: bool = False
    body: bytes = b""
    home: str = ""


class Account:
    """One business account in sandbox mode."""

    def __init__(self, world: World) -> None:
        journal = world.journal
        self.ids = world.ids
        self.settings = Settings()
        self.orders = Table(journal, "paypal.orders", Order)
        self.authorizations = Table(journal, "paypal.authorizations", Authorization)
        self.captures = Table(journal, "paypal.captures", Capture)
        self.refunds = Table(journal, "paypal.refunds", Refund)
        self.disputes = Table(journal, "paypal.disputes", Dispute)
        self.tokens = Table(journal, "paypal.tokens", Token)
        self.used = Table(journal, "paypal.keys", Used)
        self.invoices: dict[str, str] = {}
        self.refund_invoices: dict[str, str] = {}
        for table in (self.captures, self.authorizations, self.refunds):
            for row in table.rows.values():
                self.note_invoice(row)
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._told = 0
        self._effects = world.effects
        self._webhooks = world.webhooks

    def now(self) -> int:
        return int(time.time())

    def new_id(self) -> str:
        return self.ids.new("", 17).upper()

    def order(self, id: str) -> Order:
        """Raises Refused where there is none, or none any more."""
        row = self.orders.get(id)
        if row is None or row.expired:
            raise missing(id)
        return row

    def authorization(self, id: str) -> Authorization:
        """Raises Refused where there is none."""
        if row := self.authorizations.get(id):
            return row
        raise missing(id)

    def capture(self, id: str) -> Capture:
        """Raises Refused where there is none."""
        if row := self.captures.get(id):
            return row
        raise missing(id)

    def refund(self, id: str) -> Refund:
        """Raises Refused where there is none."""
        if row := self.refunds.get(id):
            return row
        raise missing(id)

    def note_invoice(self, row: Authorization | Capture | Refund) -> None:
        """Remembers what a payment says of its invoice: paid by an order, or refunded."""
        if row.invoice_id is None:
            return
        if isinstance(row, Refund):
            known, cause = self.refund_invoices, row.capture
        else:
            known, cause = self.invoices, row.order
        if row.status not in GONE:
            known[row.invoice_id] = cause
        elif known.get(row.invoice_id) == cause:
            del known[row.invoice_id]

    def keep(self, call: Call, kind: str, made: str) -> None:
        """From now on the call's key means what was made by it, whatever is answered."""
        if call.key:
            self.used.put(Used(call.key, call.path, self.now(), kind, made))

    def tell(self, type: str, row: Order | Authorization | Capture | Refund | Dispute) -> None:
        """Adds an event about an object as it is now, and sends it where webhooks are wanted."""
        self._told += 1
        event = Event(
            id=f"WH-{self.new_id()}-{self.new_id()}",
            number=self._told,
            at=round(time.time(), 3),
            type=type,
            resource_type=RESOURCES[row.__class__],
            summary=type.replace(".", " ").lower().capitalize(),
            resource=orjson.dumps(shape(row, self)).decode(),
            about=row.id,
        )
        self._events.append(event)
        if self._webhooks.target("paypal") is not None:
            self._webhooks.send("paypal", event.id, orjson.dumps(event_shape(event)))

    def events(self) -> Iterator[Event]:
        """The last ten thousand, newest first. They do not outlive the process."""
        return reversed(self._events)

    def record(
        self, kind: str, row: Authorization | Capture | Refund, call: Call | None, **facts: Any
    ) -> None:
        """Adds an effect to the sandbox's log; `call` is None for what a person did."""
        self._effects.record(
            "paypal",
            kind,
            row.id,
            key=call.key if call else None,
            amount=row.amount,
            currency=row.currency,
            metadata={"job": row.custom_id} if row.custom_id else {},
            **facts,
        )


RESOURCES: dict[type, str] = {
    Order: "checkout-order",
    Authorization: "authorization",
    Capture: "capture",
    Refund: "refund",
    Dispute: "dispute",
}
