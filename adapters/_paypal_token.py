"""PayPal's access token: one for all calls of the process, until it runs out or is refused.

https://developer.paypal.com/api/rest/authentication/
"""

from __future__ import annotations

import asyncio
import copy
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import orjson

from adapters._base import Call, Misconfigured, Request, Unavailable, VendorError

PATH = "/v1/oauth2/token"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
# A token that runs out on its way would cost a refused call.
MARGIN_SECONDS = 60.0
MARGIN_SHARE = 0.1


@dataclass(frozen=True)
class Token:
    """`until` by this process's monotonic clock."""

    value: str
    until: float


Fetch = Callable[[], Awaitable[Token]]


@dataclass
class _Held:
    token: Token | None = None
    failure: VendorError | None = None
    failures: int = 0
    # A lock belongs to one event loop; a process may have several, one after the other.
    locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(
        default_factory=WeakKeyDictionary
    )

    def usable(self, refused: str | None) -> Token | None:
        found = self.token
        if found is None or found.value == refused or found.until <= time.monotonic():
            return None
        return found

    def lock(self) -> asyncio.Lock:
        return self.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


class Tokens:
    """The tokens of this process, by whose they are. Fifty that ask at once make one request: the
    first one's, and the next takes it over where that one is cancelled."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    async def get(self, whose: str, fetch: Fetch, refused: str | None = None) -> str:
        """A token that is not `refused`, the one that PayPal did not take. Raises as `fetch`."""
        held = self._held.setdefault(whose, _Held())
        failures = held.failures
        if found := held.usable(refused):
            return found.value
        async with held.lock():
            if found := held.usable(refused):
                return found.value
            if held.failure is not None and held.failures > failures:
                # Asked for while this one waited: fifty in a row would do no better.
                raise copy.copy(held.failure)
            try:
                held.token = await fetch()
            except VendorError as error:
                held.failure, held.failures = error, held.failures + 1
                raise
            return held.token.value


async def fetch(call: Call, address: str, client: str, secret: str) -> Token:
    """Ask PayPal for a token. It has no effect, so the ledger keeps the exchange and no mark."""
    basic = b64encode(f"{client}:{secret}".encode()).decode()
    request = Request("POST", address + PATH, HEADERS, b"grant_type=client_credentials")
    asked = time.monotonic()
    try:
        answer = await call.read(request, credentials={"Authorization": f"Basic {basic}"})
    except Misconfigured as error:
        raise _refused(error.status) from None
    if answer.status in (400, 404):
        raise _refused(answer.status)
    try:
        told = orjson.loads(answer.body)
        value, seconds = str(told["access_token"]), float(told["expires_in"])
    except (LookupError, TypeError, ValueError):
        raise Unavailable("the vendor's token cannot be read", status=answer.status) from None
    if not value.isascii() or not value.isprintable():
        raise Unavailable("the vendor's token cannot be read", status=answer.status)
    margin = min(MARGIN_SECONDS, seconds * MARGIN_SHARE)
    return Token(value, asked + seconds - margin)


def _refused(status: int | None) -> Misconfigured:
    return Misconfigured("PAYPAL_CLIENT_ID is not accepted with its secret", status=status)
