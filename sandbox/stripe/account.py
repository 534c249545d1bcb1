"""What does one Stripe account hold? Its rows, settings, and what it tells about its doings."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.store import Table
from sandbox.stripe.cards import CARDS, Card
from sandbox.stripe.errors import missing
from sandbox.stripe.objects import (
    Charge,
    Customer,
    Dispute,
    Event,
    Intent,
    Refund,
    Settings,
    Stored,
)
from sandbox.stripe.shapes import shape
from sandbox.vendor import World

EVENTS_KEPT = 10_000
LATEST_VERSION = "2026-10-28.endive"


@dataclass(slots=True)
class Call:
    """One request, checked: its endpoint's `{id}`, its parameters, and who asked how."""

    id: str
    given: dict[str, Any]
    key: str | None
    request: str
    version: str
    home: str = "https://hooks.stripe.com"
    """Where a payer finds the pages that a payment sends him to."""


class Account:
    """One account in test mode."""

    def __init__(self, world: World) -> None:
        journal = world.journal
        self.ids = world.ids
        self.settings = Settings()
        self.customers = Table(journal, "stripe.customers", Customer)
        self.intents = Table(journal, "stripe.payment_intents", Intent)
        self.charges = Table(journal, "stripe.charges", Charge)
        self.refunds = Table(journal, "stripe.refunds", Refund)
        self.disputes = Table(journal, "stripe.disputes", Dispute)
        self.stored = Table(journal, "stripe.keys", Stored)
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._effects = world.effects
        self._webhooks = world.webhooks

    def now(self) -> int:
        return int(time.time())

    def customer(self, id: str | None, param: str = "customer", status: int = 400) -> Customer:
        """Raises Refused where there is none."""
        if row := self.customers.get(id or ""):
            return row
        raise missing("customer", str(id), param, status)

    def intent(self, id: str, status: int = 404, param: str = "intent") -> Intent:
        """Raises Refused where there is none."""
        if row := self.intents.get(id):
            return row
        raise missing("payment_intent", id, param, status)

    def charge(self, id: str, status: int = 404, param: str = "id") -> Charge:
        """Raises Refused where there is none."""
        if row := self.charges.get(id):
            return row
        raise missing("charge", id, param, status)

    def disputes_of(self, charge: str) -> list[Dispute]:
        """Oldest first."""
        return [row for row in self.disputes.rows.values() if row.charge == charge]

    def card(self, token: str, customer: str | None) -> Card:
        """How the payment method behaves, for this customer, today."""
        others = self.settings.cards
        return CARDS[others.get(f"{customer}:{token}") or others.get(token) or token]

    def tell(self, call: Call | None, type: str, row: object) -> None:
        """Adds an event about an object as it is now, and sends it to whom it may concern."""
        event = Event(
            self.ids.new("evt_3"),
            self.now(),
            type,
            orjson.dumps(shape(row)).decode(),
            call.version if call else LATEST_VERSION,
            call.request if call else None,
            call.key if call else None,
        )
        self._events.append(event)
        if self._webhooks.target("stripe"):
            body = orjson.dumps(shape(event) | {"pending_webhooks": 1})
            self._webhooks.send("stripe", event.id, body)

    def events(self) -> Iterator[Event]:
        """The last ten thousand, newest first. They do not outlive the process."""
        return reversed(self._events)

    def record(self, kind: str, reference: str, call: Call | None, **facts: Any) -> None:
        """Adds an effect to the sandbox's log; `call` is None for what a person did."""
        key = call.key if call else None
        self._effects.record("stripe", kind, reference, key=key, **facts)


def merged(metadata: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata after an update: names with an empty value are gone; None takes all away."""
    if given is None:
        return {}
    return {name: value for name, value in {**metadata, **given}.items() if value != ""}
