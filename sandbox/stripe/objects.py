"""What does Stripe keep? One row an object, without what is the same in all of them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Customer:
    """`given`: the parameters of its creation and updates, by name."""

    id: str
    created: int
    given: dict[str, Any]
    metadata: dict[str, str]


@dataclass(slots=True)
class Intent:
    """A payment intent. `card` is the test payment method that it pays with; `given` the
    parameters of its creation that it only gives back."""

    id: str
    created: int
    amount: int
    currency: str
    status: str
    capture_method: str
    metadata: dict[str, str]
    given: dict[str, Any]
    customer: str | None = None
    card: str | None = None
    latest_charge: str | None = None
    amount_received: int = 0
    amount_capturable: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    last_payment_error: dict[str, Any] | None = None
    next_action: dict[str, Any] | None = None

    @property
    def payment_method(self) -> str | None:
        """Each use of a test card makes a payment method of its own."""
        return self.card and f"pm_{self.id.removeprefix('pi_')}"


@dataclass(slots=True)
class Charge:
    id: str
    created: int
    intent: str
    customer: str | None
    amount: int
    currency: str
    status: str
    payment_method: str
    card: str
    description: str | None
    metadata: dict[str, str]
    captured: bool = False
    amount_captured: int = 0
    amount_refunded: int = 0
    disputed: bool = False
    failure_code: str | None = None
    failure_message: str | None = None
    decline_code: str | None = None


@dataclass(slots=True)
class Refund:
    id: str
    created: int
    charge: str
    intent: str
    amount: int
    currency: str
    reason: str | None
    metadata: dict[str, str]
    status: str = "succeeded"
    failure_reason: str | None = None


@dataclass(slots=True)
class Dispute:
    """A payer's objection by way of his bank. `status`: needs_response, then won or lost."""

    id: str
    created: int
    charge: str
    intent: str
    amount: int
    currency: str
    reason: str
    status: str = "needs_response"


@dataclass(slots=True)
class Event:
    """`object` is what the event is about, as it was then, in JSON."""

    id: str
    created: int
    type: str
    object: str
    api_version: str
    request: str | None
    key: str | None


@dataclass(slots=True)
class Stored:
    """A first answer, kept under its idempotency key, which is the row's id."""

    id: str
    path: str
    fingerprint: str
    at: int
    status: int
    body: str
    request: str


@dataclass(slots=True)
class Settings:
    """What the dashboard can change: how long keys are kept, and how late search finds things,
    both in seconds. Stripe keeps keys at least a day; its search may lag by a minute."""

    key_seconds: int = 86_400
    search_lag: int = 0
    cards: dict[str, str] = field(default_factory=dict)
    """Payment methods that now behave like another: `token` or `customer:token` → token."""
