"""Admission to a vendor: pybreaker's states and listeners over one ledger row that all share.

Admission and outcome are two short steps around the call, with no lock held between them, so a
hundred calls run at once. PostgreSQL decides every transition; see `models/vendors.py`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

import pybreaker

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Throttled,
    Unavailable,
    Unknown,
    adapter,
)
from ferryman.policies import Policy
from models import vendors
from models.ledger import Ledger
from models.vendors import State

# A change by another process is seen this much later at the most.
CACHE_SECONDS = 0.25
PAUSE_LOOK_SECONDS = 5.0
PROBING_LOOK_SECONDS = 1.0
FAILURES = (NotSent, Unknown, Unavailable, TimeoutError)


def _is_no_failure(error: BaseException) -> bool:
    """A refusal, a limit, or an answer that is odd but an answer, says nothing of the vendor's
    health."""
    return not isinstance(error, FAILURES) or getattr(error, "for_person", False)


class Parked(Exception):
    """The vendor is not to be called now; the job waits without an attempt."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True)
class Permit:
    """Leave for one call. Outcomes count for the generation in which it was given."""

    generation: int
    probe: bool = False


class Snapshot(pybreaker.CircuitBreakerStorage):
    """The ledger's row as last seen. pybreaker reads it; only PostgreSQL changes it."""

    def __init__(self, vendor: str) -> None:
        super().__init__(vendor)
        self.row = State(vendor)

    @property
    def state(self) -> str:
        return self.row.breaker

    @state.setter
    def state(self, state: str) -> None:
        """Set by the ledger alone."""

    @property
    def counter(self) -> int:
        return self.row.failures

    @property
    def success_counter(self) -> int:
        return 0

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        """Set by the ledger alone."""

    def increment_counter(self) -> None:
        """Counted by the ledger alone."""

    def reset_counter(self) -> None:
        """Counted by the ledger alone."""

    def increment_success_counter(self) -> None:
        """Counted by the ledger alone."""

    def reset_success_counter(self) -> None:
        """Counted by the ledger alone."""


class VendorBreaker(pybreaker.CircuitBreaker):
    """One vendor's breaker: `admit()` before a call, `record()` after it."""

    def __init__(self, vendor: str, policy: Policy, ledger: Ledger) -> None:
        self.snapshot = Snapshot(vendor)
        super().__init__(
            fail_max=policy.breaker_fail_max,
            reset_timeout=policy.breaker_reset_seconds,
            state_storage=self.snapshot,
            exclude=[_is_no_failure],
            name=vendor,
        )
        self._vendor = vendor
        self._policy = policy
        self._ledger = ledger
        self._fingerprint = adapter(vendor).fingerprint()

    def see(self, row: State | None) -> None:
        """Take over a row of the ledger; listeners hear of a change."""
        if row is not None and row.generation >= self.snapshot.row.generation:
            self.snapshot.row = row
            _ = self.state

    async def admit(self) -> Permit:
        """Leave to call the vendor now. Raises Parked."""
        row = self.snapshot.row
        if row.pauses(self._fingerprint):
            raise Parked(f"{self._vendor} is paused: {row.pause_note}", PAUSE_LOOK_SECONDS)
        if row.cool_for > 0:
            raise Parked(f"{self._vendor} limits the rate", row.cool_for)
        if row.breaker == pybreaker.STATE_CLOSED:
            return Permit(row.generation)
        return await self._probe(row)

    async def record(self, permit: Permit, error: BaseException | None) -> None:
        """Tell the call's outcome. A refusal is neither success nor failure, but a probe that is
        refused has found the vendor well."""
        if isinstance(error, Throttled | Misconfigured):
            await self._slow_down(error)
        if error is not None and self.is_system_error(error):
            await self._failed(permit)
        elif error is None or (permit.probe and isinstance(error, Refused)):
            await self._succeeded(permit)
        elif permit.probe:
            await self.release(permit)

    async def release(self, permit: Permit) -> None:
        """No call was made: the next one may probe."""
        if permit.probe:
            async with self._ledger.transaction() as connection:
                await vendors.release(connection, self._vendor, permit.generation)

    async def _probe(self, row: State) -> Permit:
        # A probe may end at any moment; meanwhile the relay publishes no others.
        probing = min(row.probing_for, PROBING_LOOK_SECONDS)
        wait = max(row.probe_in if row.breaker == pybreaker.STATE_OPEN else probing, 0.1)
        if row.probe_in <= CACHE_SECONDS and row.probing_for <= CACHE_SECONDS:
            lifetime = 2 * self._policy.timeout_seconds
            async with self._ledger.transaction() as connection:
                won = await vendors.probe(connection, self._vendor, lifetime=lifetime)
            if won is not None:
                self.see(won)
                return Permit(won.generation, probe=True)
        raise Parked(
            f"{self._vendor} is unavailable since {row.unavailable_since},"
            f" next probe {row.next_probe}",
            wait,
        )

    async def _failed(self, permit: Permit) -> None:
        async with self._ledger.transaction() as connection:
            row = await vendors.failed(
                connection,
                self._vendor,
                permit.generation,
                fail_max=self.fail_max,
                reset_seconds=self.reset_timeout,
            )
        self.see(row)

    async def _succeeded(self, permit: Permit) -> None:
        if not permit.probe and self.snapshot.row.failures == 0:
            return
        async with self._ledger.transaction() as connection:
            row = await vendors.succeeded(
                connection, self._vendor, permit.generation, probe=permit.probe
            )
        self.see(row)

    async def _slow_down(self, error: Throttled | Misconfigured) -> None:
        async with self._ledger.transaction() as connection:
            if isinstance(error, Throttled):
                await vendors.cool_down(connection, self._vendor, error.retry_after or 1.0)
            else:
                await vendors.pause(
                    connection,
                    self._vendor,
                    who="ferryman",
                    note=error.message,
                    fingerprint=self._fingerprint,
                )


class Breakers:
    """The breakers of all vendors, refreshed by one query at a time."""

    def __init__(self, ledger: Ledger, policies: dict[str, Policy]) -> None:
        self._ledger = ledger
        self._by_vendor = {
            vendor: VendorBreaker(vendor, policy, ledger) for vendor, policy in policies.items()
        }
        self._seen_at = float("-inf")
        self._refresh = asyncio.Lock()

    def __getitem__(self, vendor: str) -> VendorBreaker:
        return self._by_vendor[vendor]

    async def ensure(self) -> None:
        """A row in the ledger for each vendor."""
        async with self._ledger.transaction() as connection:
            await vendors.ensure(connection, list(self._by_vendor))

    async def admit(self, vendor: str) -> Permit:
        """Leave to call the vendor now, by what is known to all. Raises Parked."""
        if time.monotonic() - self._seen_at > CACHE_SECONDS:
            await self._see_all()
        return await self._by_vendor[vendor].admit()

    async def _see_all(self) -> None:
        async with self._refresh:
            if time.monotonic() - self._seen_at <= CACHE_SECONDS:
                return
            async with self._ledger.transaction() as connection:
                rows = await vendors.states(connection)
            for vendor, breaker in self._by_vendor.items():
                breaker.see(rows.get(vendor))
            self._seen_at = time.monotonic()
