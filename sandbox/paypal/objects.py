"""What does PayPal keep? One row an object, amounts in minor units, times in seconds since 1970."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Order:
    """`units`: the purchase units as they were given, each with a `reference_id`; `source`: the
    payment source of its creation, `context` the older place of the same; `home` is where its
    payer's page is. `wallet`: the test token of the payer who approved."""

    id: str
    created: int
    updated: int
    intent: str
    status: str
    units: list[dict[str, Any]]
    source: dict[str, Any] | None
    context: dict[str, Any]
    home: str
    wallet: str | None = None
    captures: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    expired: bool = False


@dataclass(slots=True)
class Authorization:
    """Held money. `captured`: how much of it was taken, `captures` by which."""

    id: str
    created: int
    updated: int
    order: str
    unit: str
    amount: int
    currency: str
    status: str
    custom_id: str | None
    invoice_id: str | None
    captured: int = 0
    captures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Capture:
    """Taken money. `refunded`: given back for good; `reserved`: by refunds that are pending."""

    id: str
    created: int
    updated: int
    order: str
    unit: str
    authorization: str | None
    amount: int
    currency: str
    status: str
    custom_id: str | None
    invoice_id: str | None
    final: bool = True
    refunded: int = 0
    reserved: int = 0
    refunds: list[str] = field(default_factory=list)
    dispute: str | None = None
    """The open dispute."""


@dataclass(slots=True)
class Refund:
    id: str
    created: int
    updated: int
    capture: str
    amount: int
    currency: str
    status: str
    custom_id: str | None = None
    invoice_id: str | None = None
    note: str | None = None


@dataclass(slots=True)
class Dispute:
    """`outcome`: how it was resolved, else None."""

    id: str
    created: int
    updated: int
    capture: str
    amount: int
    currency: str
    outcome: str | None = None


@dataclass(slots=True)
class Token:
    """An access token, which is the row's id."""

    id: str
    expires: int


@dataclass(slots=True)
class Used:
    """What was made under a PayPal-Request-Id, which is the row's id: a row of the table `kind`."""

    id: str
    path: str
    at: int
    kind: str
    made: str


@dataclass(slots=True)
class Event:
    """`resource` is what the event is about, as it was then, in JSON; `at` has milliseconds."""

    id: str
    number: int
    at: float
    type: str
    resource_type: str
    summary: str
    resource: str
    about: str


@dataclass(slots=True)
class Settings:
    """What the dashboard can change, times in seconds: PayPal keeps the ids of orders' requests six
    hours and those of payments' 45 days; a token lives nine hours."""

    order_key_seconds: int = 6 * 3600
    payment_key_seconds: int = 45 * 86_400
    token_seconds: int = 9 * 3600
    pending_captures: bool = False
    pending_refunds: bool = False
    wallets: dict[str, str] = field(default_factory=dict)
    """Test tokens that now behave like another."""
