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
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Protocol
from uuid import UUID

Row = dict[str, Any]


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
    of our own making; the vendor was not asked, and others need not wait."""

    default_code = "rate_limited"

    def __init__(
        self, message: str, *, retry_after: float | None = None, local: bool = False, **known: Any
    ) -> None:
        super().__init__(message, **known)
        self.retry_after = retry_after
        self.local = local


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
    """One HTTP request without its credentials, which are added on the way out and never stored."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """An answer, read to its end. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
        """Send a request without effect. Raises as `write` does, Unavailable for Unknown."""
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

    def live_secret(self) -> str | None:
        """The variable that holds a live credential, if one does."""
        for name in self.secrets:
            if self.live_prefixes and os.environ.get(name, "").startswith(self.live_prefixes):
                return name
        return None


@lru_cache
def adapter(vendor: str) -> Adapter:
    """The adapter of that name, found by its file."""
    made: Adapter = importlib.import_module(f"adapters.{vendor}").Adapter()
    return made
