"""A vendor's access token: one for all calls of the process, until it runs out or is refused."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from adapters._base import VendorError


@dataclass(frozen=True)
class Token:
    """`until` by this process's monotonic clock; `address`: where it is good, where the vendor
    tells that with it."""

    value: str
    until: float
    address: str = ""


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

    async def get(self, whose: str, fetch: Fetch, refused: str | None = None) -> Token:
        """A token that is not `refused`, the one that the vendor did not take. Raises as
        `fetch`."""
        held = self._held.setdefault(whose, _Held())
        failures = held.failures
        if found := held.usable(refused):
            return found
        async with held.lock():
            if found := held.usable(refused):
                return found
            if held.failure is not None and held.failures > failures:
                # Asked for while this one waited: fifty in a row would do no better.
                raise copy.copy(held.failure)
            try:
                held.token = await fetch()
            except VendorError as error:
                held.failure, held.failures = error, held.failures + 1
                raise
            return held.token
