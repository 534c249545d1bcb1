"""May a job of this vendor run now? Its breaker, cool-down, pause and rate, in one step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog

from ferryman.policies import Policy
from models import vendors
from models.group import is_away
from models.ledger import Ledger
from worker.breaker import (
    CACHE_SECONDS,
    NO_CAP,
    Parked,
    Permit,
    VendorBreaker,
    about_a_second,
)
from worker.drain import DRAINED
from worker.limits import AttemptPace, NoToken, Rates
from worker.slots import granted

log = structlog.get_logger()

# A process that has no jobs hears of changes too: it may have closed a queue because of them.
WATCH_SECONDS = 0.4


class Breakers:
    """The breakers of all vendors, refreshed by one query at a time, and their rates. `slots`:
    how many calls this process makes at once at the most."""

    def __init__(
        self,
        ledger: Ledger,
        policies: Mapping[str, Policy],
        rates: Rates | None = None,
        *,
        slots: int = DRAINED,
    ) -> None:
        self._ledger = ledger
        self._rates = rates
        self._by_vendor = {
            vendor: VendorBreaker(vendor, policy, ledger, most=slots)
            for vendor, policy in policies.items()
        }
        self._seen_at = float("-inf")
        self._refresh = asyncio.Lock()

    def __getitem__(self, vendor: str) -> VendorBreaker:
        return self._by_vendor[vendor]

    def cap(self, vendor: str) -> int:
        """The most calls to this vendor that this process may have in flight."""
        breaker = self._by_vendor.get(vendor)
        return breaker.cap() if breaker else NO_CAP

    def is_paused(self, vendor: str) -> bool:
        """Whether it is, as far as is known, for the credentials of this process."""
        breaker = self._by_vendor.get(vendor)
        return breaker is not None and breaker.is_paused()

    async def ensure(self) -> None:
        """A row in the ledger for each vendor."""
        async with self._ledger.transaction() as connection:
            await vendors.ensure(connection, list(self._by_vendor))

    async def admit(self, vendor: str) -> Permit:
        """Leave to call the vendor now, by what is known to all. Raises Parked."""
        if not granted.get():
            raise Parked("waits for a slot", about_a_second())
        if time.monotonic() - self._seen_at > CACHE_SECONDS:
            await self._see_all(CACHE_SECONDS)
        permit = await self._by_vendor[vendor].admit()
        permit.pace = AttemptPace(vendor, self._rates, self._by_vendor[vendor].hold)
        try:
            await permit.pace.admit()
        except NoToken as none:
            await self._by_vendor[vendor].release(permit)
            raise Parked(none.reason, none.seconds) from None
        except BaseException:
            await self._by_vendor[vendor].release(permit)
            raise
        return permit

    async def watch(self) -> None:
        """Look at least so often, also while nothing is admitted; until cancelled."""
        while True:
            try:
                await self._see_all(WATCH_SECONDS)
            except Exception as error:
                if not is_away(error):
                    log.warning("breaker.not_seen", error=type(error).__name__)
            await asyncio.sleep(WATCH_SECONDS)

    async def close(self) -> None:
        if self._rates is not None:
            await self._rates.close()

    async def _see_all(self, older_than: float) -> None:
        async with self._refresh:
            if time.monotonic() - self._seen_at <= older_than:
                return
            async with self._ledger.transaction() as connection:
                rows = await vendors.states(connection)
            for vendor, breaker in self._by_vendor.items():
                breaker.see(rows.get(vendor))
            self._seen_at = time.monotonic()
