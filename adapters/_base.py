"""What every adapter promises, and the only errors it raises, named by what happens next.

VendorError
├── NotSent        the request provably did not leave            → retry freely
├── Unknown        it may have left, no usable answer came       → repeat as its step declares
├── Unavailable    the vendor cannot now, repeating is harmless  → retry with backoff
├── Throttled      a limit is reached, nothing happened          → wait, no attempt used
├── Refused        the vendor says no, with a reason             → failed at once
└── Misconfigured  our credential or setting is wrong            → wait, pause the vendor
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Protocol
from uuid import UUID

Row = dict[str, Any]

CANCEL = "cancel"
"""The step that stops what an earlier step has begun: it leaves also when a cancel was asked."""


class Repeat(StrEnum):
    """How repeating a step is made harmless."""

    KEY = "key"
    """The vendor dedupes by our key, within its window."""
    LOOK_UP = "look-up"
    """The effect can be looked up by our reference."""
    NATURAL = "natural"
    """The same bytes to the same place change nothing."""
    NEVER = "never"
    """Nothing does: a webhook or a person must tell."""


class VendorError(Exception):
    """A call that did not end well. Its message is neutral: no payload, no address, no key."""

    default_code: ClassVar[str] = "vendor_error"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status
        self.vendor: str | None = None
        """Whose error it is, where that is known; None: that of the job's own vendor."""

    def as_error(self) -> Row:
        """The `error` of a job: `{"code", "message", "type", "status"?}`."""
        error: Row = {"code": self.code, "message": self.message, "type": type(self).__name__}
        return error | ({"status": self.status} if self.status else {})


class NotSent(VendorError):
    """The connection failed before the request left."""

    default_code = "not_sent"


class Unknown(VendorError):
    """The request may have had its effect. `look_up`: no repeat can tell, a look-up may;
    `for_person`: neither can, a person must."""

    default_code = "outcome_unknown"

    def __init__(
        self, message: str, *, look_up: bool = False, for_person: bool = False, **known: Any
    ) -> None:
        super().__init__(message, **known)
        self.look_up = look_up
        self.for_person = for_person


class Unavailable(VendorError):
    """The vendor cannot answer now, and repeating the call is harmless.

    `answer`: what the vendor said, for an adapter that knows a stored answer when it sees one.
    """

    default_code = "vendor_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        answer: Response | None = None,
        **known: Any,
    ) -> None:
        super().__init__(message, **known)
        self.retry_after = retry_after
        self.answer = answer


class Throttled(VendorError):
    """A limit is reached. `retry_after` in seconds, where the vendor named one. `local`: a limit
    of our own making; the vendor was not asked, and others need not wait. `answer`: what the
    vendor said, for an adapter that can tell a day's limit from a second's."""

    default_code = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        local: bool = False,
        answer: Response | None = None,
        **known: Any,
    ) -> None:
        super().__init__(message, **known)
        self.retry_after = retry_after
        self.local = local
        self.answer = answer


class Refused(VendorError):
    """The vendor will not do it: a declined card, an invalid address. The effect is absent."""

    default_code = "refused"


class Misconfigured(VendorError):
    """The vendor does not accept our credential, or a setting is missing; the message names it.

    `answer`: what the vendor said, for an adapter that can tell a job's own mistake from ours.
    """

    default_code = "misconfigured"

    def __init__(self, message: str, *, answer: Response | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.answer = answer


@dataclass(frozen=True)
class Request:
    """One HTTP request without its credentials, which are added on the way out and never stored.

    `opaque`: it carries somebody's content, there or back. No more than its length is kept, and
    the answer is handed on as the vendor stores it, not unpacked.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    opaque: bool = False


@dataclass(frozen=True)
class Response:
    """An answer, read to its end. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Delivery:
    """A webhook as it came in: its bytes, its headers by lower-case name, and the address that the
    vendor called. `url` is None where FERRYMAN_PUBLIC_URL is not set."""

    headers: Mapping[str, str]
    body: bytes
    url: str | None = None


@dataclass(frozen=True)
class Event:
    """What a vendor tells by itself, verified. `id` is the vendor's, and the same each time that
    it tells; `at` is the vendor's own time."""

    id: str
    type: str
    at: datetime
    payload: Row


class Forged(Exception):
    """A webhook that is not known to be the vendor's: its signature, age or certificate is wrong.
    The message says what, and quotes nothing of it."""


class NoEvent(Exception):
    """A webhook that is the vendor's, but is no event that can be read."""


class News(Protocol):
    """What one event says about one effect, in our words; see `_news.py`. `kind` is the kind of
    job that understands it."""

    kind: ClassVar[str]


class Call(Protocol):
    """The way out to the vendor, for one attempt of one job."""

    job_id: UUID

    def key(self, step: str) -> str:
        """The vendor key of this job's step: the same in every attempt, until the absence of its
        effect is proven."""
        ...

    async def write(
        self,
        step: str,
        request: Request,
        *,
        key: str,
        repeat: Repeat,
        credentials: Mapping[str, str],
    ) -> Response:
        """Send a request that may have an effect; the ledger knows of it before it leaves.

        Returns any answer but the ones raised: NotSent, Unknown, Unavailable (5xx), Throttled
        (429), Misconfigured (401, 403).
        """
        ...

    async def read(self, request: Request, *, credentials: Mapping[str, str]) -> Response:
        """Send a request without effect, or one of a step that `act` has marked and that is
        harmless to repeat. Raises as `write` does, Unavailable for Unknown."""
        ...

    async def act(self, step: str, described: Row, *, key: str, repeat: Repeat) -> None:
        """Mark a step whose bytes another client sends (a storage library)."""
        ...

    async def pace(self) -> None:
        """Wait for leave to send one request with another client. Raises Throttled."""
        ...

    async def no_effect(self, step: str) -> None:
        """The answer to the last request of this step proves that it, and only it, did nothing."""
        ...

    def answered(self, step: str) -> None:
        """The vendor told about the step's effect: no earlier request is in doubt any more."""
        ...

    def doubtful(self, step: str) -> bool:
        """Whether an earlier attempt's request of this step may have had its effect."""
        ...

    def saw(self, interaction: Row) -> None:
        """Keep an exchange that went past this transport, already redacted."""
        ...


class Adapter:
    """One vendor. Subclasses are called `Adapter`, one in each file of this folder."""

    vendor: ClassVar[str]
    base_url: ClassVar[str]
    base_url_variable: ClassVar[str]
    secrets: ClassVar[tuple[str, ...]]
    """Environment variables that hold this vendor's credentials."""
    look_ups: ClassVar[frozenset[str]] = frozenset()
    """Kinds of job whose effect can be looked up here by our reference."""
    live_prefixes: ClassVar[tuple[str, ...]] = ()
    """How a live credential begins; such a one is refused outside production."""
    trial_prefixes: ClassVar[tuple[str, ...]] = ()
    """How a credential begins that moves nothing real; in production it is warned of."""
    live_advice: ClassVar[str] = "use a test key"
    """What to do about a live credential outside production."""
    renews_credentials: ClassVar[bool] = False
    """Whether it works with a token that ends now and then, and gets a new one after a 401."""
    webhook_secrets: ClassVar[tuple[str, ...]] = ()
    """Environment variables without which no webhook of this vendor is taken; none: it sends
    none. A comma in one separates secrets that are both valid while they are rotated."""
    lists_events: ClassVar[bool] = False
    """Whether past events can be asked for, to fill gaps."""

    def prepare(self) -> None:
        """Load what takes long to load, before the first job; runs in a thread."""

    def address(self) -> str:
        """Where the vendor is: `<VENDOR>_BASE_URL`, else its real address."""
        return (os.environ.get(self.base_url_variable) or self.base_url).rstrip("/")

    def secret(self, name: str) -> str:
        """A credential from the environment. Raises Misconfigured naming the variable."""
        value = os.environ.get(name, "")
        if not value:
            raise Misconfigured(f"{name} is not set", code="credentials_missing")
        return value

    def fingerprint(self) -> str:
        """Names the present credentials without telling them."""
        joined = "\0".join(os.environ.get(name, "") for name in self.secrets)
        return hashlib.sha256(joined.encode()).hexdigest()[:16]

    def configured(self) -> bool:
        """Whether all credentials are there."""
        return all(os.environ.get(name) for name in self.secrets)

    def takes_webhooks(self) -> bool:
        """Whether what is needed to verify a webhook is there; else the door is closed."""
        return bool(self.webhook_secrets) and not self.webhooks_lack()

    def webhooks_lack(self) -> tuple[str, ...]:
        """The variables that would have to be set for this vendor's webhooks to be taken."""
        return tuple(name for name in self.webhook_secrets if not self.webhook_secret(name))

    def webhook_secret(self, name: str) -> list[str]:
        """The values of one of `webhook_secrets`: two while it is rotated."""
        return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        """Verify a webhook over its raw bytes, and read its events.

        Raises Forged, NoEvent, and Unavailable where it cannot be verified now (a certificate that
        cannot be fetched): then the vendor is asked to send it again.
        """
        raise Forged("this vendor sends no webhooks")

    def events(self, call: Call, since: datetime, until: datetime) -> AsyncIterator[Event]:
        """The vendor's own list of events between two times, oldest or newest first. Raises as
        `Call.read` does. Asked of those with `lists_events`."""
        raise NotImplementedError("this vendor lists no events")

    async def read_event(self, call: Call, id: str) -> Event | None:
        """One event by its id, as the vendor tells it. None: it knows none of that id, or cannot
        be asked. May raise Refused `not_found` for the first."""
        return None

    def news(self, event: Event) -> Sequence[News]:
        """What an event says about effects of ours; nothing for those that do not concern us."""
        return ()

    def live_secret(self) -> str | None:
        """The variable that holds a live credential, if one does."""
        return self._beginning(self.live_prefixes)

    def trial_secret(self) -> str | None:
        """The variable that holds a credential which moves nothing real, if one does."""
        return self._beginning(self.trial_prefixes)

    def _beginning(self, prefixes: tuple[str, ...]) -> str | None:
        found = (name for name in self.secrets if os.environ.get(name, "").startswith(prefixes))
        return next(found, None) if prefixes else None


@lru_cache
def adapter(vendor: str) -> Adapter:
    """The adapter of that name, found by its file."""
    made: Adapter = importlib.import_module(f"adapters.{vendor}").Adapter()
    return made
