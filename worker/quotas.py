"""What a vendor says of its own limits: who has to wait for it, and when is it written down? Never
once a call."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from adapters._base import Throttled
from adapters._limits import DailyLimit, Quota, next_day
from ferryman.policies import Policy
from models import days, vendors
from models.ledger import Ledger
from models.vendors import State

SCARCE = 0.1
QUOTA_SECONDS = 10.0


class Limits:
    """One vendor's limits, shared with all processes by its row in the ledger."""

    def __init__(self, ledger: Ledger, vendor: str, policy: Policy) -> None:
        self._ledger = ledger
        self._vendor = vendor
        self._policy = policy
        self._notes = {False: QuotaNotes(), True: QuotaNotes()}

    async def saw(self, quota: Quota) -> State | None:
        """An answer told what is left. Nothing: nobody calls until the vendor's window ends; then
        the row after that."""
        if self._notes[quota.daily].worth(quota):
            await self._keep(quota)
        return await self._used_up(quota) if quota.remaining == 0 else None

    async def refused(self, error: Throttled) -> State | None:
        """Nothing goes for as long as the vendor says. The limit of a day is waited for however
        long that is. The row after that."""
        seconds = error.retry_after or 1.0
        async with self._ledger.transaction() as connection:
            if isinstance(error, DailyLimit):
                return await days.reached(connection, self._vendor, seconds)
            return await vendors.cool_down(connection, self._vendor, seconds)

    async def _used_up(self, quota: Quota) -> State | None:
        """Where it is not known when the window ends, the next request is refused and tells."""
        seconds = self._day() if quota.daily else quota.reset_seconds
        if not seconds:
            return None
        async with self._ledger.transaction() as connection:
            if quota.daily:
                return await days.reached(connection, self._vendor, seconds)
            most = self._policy.retry_after_max_seconds
            return await vendors.cool_down(connection, self._vendor, min(seconds, most))

    async def _keep(self, quota: Quota) -> None:
        keep = days.left if quota.daily else vendors.quota
        async with self._ledger.transaction() as connection:
            await keep(
                connection,
                self._vendor,
                limit=quota.limit,
                remaining=quota.remaining,
                reset_seconds=self._day() if quota.daily else quota.reset_seconds,
            )

    def _day(self) -> float | None:
        """Seconds until the account's day ends, where it has an end that is known."""
        if not self._policy.day_ends:
            return None
        now = datetime.now(UTC)
        return (next_day(self._policy.day_ends, now) - now).total_seconds()


class QuotaNotes:
    """What this process has written of one vendor: in each window once when little is left and
    once when nothing is, and now and then that a new window has begun."""

    def __init__(self) -> None:
        self._written_at = float("-inf")
        self._ends_at = float("-inf")
        self._stage = 0

    def worth(self, quota: Quota) -> bool:
        """Whether this is to be written down; then it counts as written."""
        now = time.monotonic()
        stage = _stage(quota)
        if now >= self._ends_at:
            is_news = stage > 0 or now - self._written_at >= QUOTA_SECONDS
        else:
            is_news = stage > self._stage
        if is_news:
            self._written_at, self._stage = now, stage
            self._ends_at = now + (quota.reset_seconds or QUOTA_SECONDS)
        return is_news


def _stage(quota: Quota) -> int:
    """0: enough is left; 1: little; 2: nothing."""
    return (quota.remaining <= SCARCE * (quota.limit or 0)) + (quota.remaining == 0)
