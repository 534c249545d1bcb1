"""Admission to a vendor: pybreaker's states and listeners over one ledger row that all share.

Admission and outcome are two short steps around the call, with no lock held between them, so a
hundred calls run at once. PostgreSQL decides every transition; see `models/vendors.py`.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass, field

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
from tasks._base import Pending, Stopped
from worker.drain import Drain
from worker.limits import AttemptPace
from worker.quotas import Limits
from worker.snapshot import Snapshot

# A change by another process is seen this much later at the most.
CACHE_SECONDS = 0.25
PAUSE_LOOK_SECONDS = 5.0
PROBING_LOOK_SECONDS = 1.0
TURN_SECONDS = 1.0
HOLD_SECONDS = 0.5
NO_CAP = sys.maxsize
FAILURES = (NotSent, Unknown, Unavailable, TimeoutError)


def _is_no_failure(error: BaseException) -> bool:
    """A refusal, a limit, or an answer that is odd but an answer, says nothing of the vendor's
    health."""
    if isinstance(error, Unknown) and (error.for_person or error.look_up):
        return True
    return not isinstance(error, FAILURES)


def _is_success(error: BaseException | None) -> bool:
    """The vendor has answered as it should, though its payer or a bank has not."""
    return error is None or isinstance(error, Pending | Stopped)


class Parked(Exception):
    """The vendor is not to be called now; the job waits without an attempt."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


@dataclass(eq=False)
class Permit:
    """Leave for one attempt. Outcomes count for the generation in which it was given. `given`:
    it counts as one in flight, until it is told of or released."""

    generation: int
    probe: bool = False
    given: bool = field(default=True, init=False)
    pace: AttemptPace = field(init=False)


class VendorBreaker(pybreaker.CircuitBreaker):
    """One vendor's breaker: `admit()` before a call, `record()` after it."""

    def __init__(self, vendor: str, policy: Policy, ledger: Ledger, *, most: int) -> None:
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
        self._drain = Drain(most)
        self._limits = Limits(ledger, vendor, policy)
        self._given = 0
        self._held_until = float("-inf")

    def is_paused(self) -> bool:
        """For the credentials of this process."""
        return self.snapshot.row.pauses(self._fingerprint)

    def cap(self) -> int:
        """The most calls that this process may have in flight, by what is known of the vendor."""
        return min(self._share(), self._drain.allowance or NO_CAP)

    def see(self, row: State | None) -> None:
        """Take over a row of the ledger; listeners hear of a change."""
        if row is not None and row.generation >= self.snapshot.row.generation:
            self._drain.see(row)
            self.snapshot.row = row
            _ = self.state

    async def admit(self) -> Permit:
        """Leave to call the vendor now. Raises Parked."""
        permit = await self._admit()
        self._given += 1
        return permit

    def hold(self) -> None:
        """The vendor has just refused all: until the ledger knows it too, this process stops."""
        self._held_until = time.monotonic() + HOLD_SECONDS

    def check(self, permit: Permit) -> None:
        """Once more, right before a request leaves: it may have waited for others. Raises
        Parked."""
        row = self.snapshot.row
        self._check_state(row)
        if row.breaker != pybreaker.STATE_CLOSED and not permit.probe:
            raise Parked(f"{self._vendor} is unavailable", about_a_second())

    def _check_state(self, row: State) -> None:
        if row.pauses(self._fingerprint):
            raise Parked(f"{self._vendor} is paused: {row.pause_note}", PAUSE_LOOK_SECONDS)
        if row.day_ends:
            reason = f"{self._vendor}'s daily limit is reached, until {row.day_ends} UTC"
            raise Parked(reason, row.cool_for)
        if row.cool_for > 0:
            raise Parked(f"{self._vendor} limits the rate", row.cool_for)
        if time.monotonic() < self._held_until:
            raise Parked(f"{self._vendor} takes no requests now", about_a_second())

    async def _admit(self) -> Permit:
        row = self.snapshot.row
        self._check_state(row)
        if self._given >= (self._drain.allowance or NO_CAP):
            raise Parked(f"{self._vendor} is back, and is given more by and by", about_a_second())
        if row.breaker == pybreaker.STATE_CLOSED:
            return Permit(row.generation)
        return await self._probe(row)

    async def record(self, permit: Permit, error: BaseException | None) -> None:
        """Tell the call's outcome. A refusal is neither success nor failure, but a probe that is
        refused has found the vendor well."""
        self._take_back(permit)
        if isinstance(error, Misconfigured) or (isinstance(error, Throttled) and not error.local):
            await self._slow_down(error)
            self._held_until = float("-inf")
        if error is not None and self.is_system_error(error):
            await self._failed(permit)
        elif _is_success(error) or (permit.probe and isinstance(error, Refused)):
            await self._succeeded(permit)
        elif permit.probe:
            await self.release(permit)
        if (quota := permit.pace.quota) is not None:
            self.see(await self._limits.saw(quota))

    async def release(self, permit: Permit) -> None:
        """No call was made: the next one may probe."""
        self._take_back(permit)
        if permit.probe:
            async with self._ledger.transaction() as connection:
                await vendors.release(connection, self._vendor, permit.generation)

    def _take_back(self, permit: Permit) -> None:
        self._given -= permit.given
        permit.given = False

    def _share(self) -> int:
        most = self._policy.max_in_flight
        return max(1, most // self.snapshot.row.workers) if most else NO_CAP

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
            if row is None:
                # It was of an earlier period: another process has seen more than we know.
                row = (await vendors.states(connection)).get(self._vendor)
        self.see(row)

    async def _succeeded(self, permit: Permit) -> None:
        if not permit.probe and self._drain.widen(permit.generation, self._share()):
            await self._end_drain(permit)
        if not permit.probe and self.snapshot.row.failures == 0:
            return
        async with self._ledger.transaction() as connection:
            row = await vendors.succeeded(
                connection, self._vendor, permit.generation, probe=permit.probe
            )
        self.see(row)

    async def _end_drain(self, permit: Permit) -> None:
        async with self._ledger.transaction() as connection:
            row = await vendors.drained(connection, self._vendor, permit.generation)
        self._drain.end()
        self.see(row)

    async def _slow_down(self, error: Throttled | Misconfigured) -> None:
        if isinstance(error, Throttled):
            self.see(await self._limits.refused(error))
            return
        async with self._ledger.transaction() as connection:
            row = await vendors.pause(
                connection,
                self._vendor,
                who="ferryman",
                note=error.message,
                fingerprint=self._fingerprint,
            )
        self.see(row)


def about_a_second() -> float:
    return TURN_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
