"""May a request leave now, by the rate of its vendor? All workers count in one key of the broker.

GCRA: the key holds the moment at which the bucket will be full again. A missing key (the broker
was wiped) is an empty bucket, so that what left before the wipe and what leaves after it stay
within the rate together. No token is promised ahead, for the same reason.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters._base import Throttled
from adapters._limits import Quota
from ferryman.policies import Policy

# How long a job waits in memory for a token, and for the broker's answer.
PATIENCE_SECONDS = 1.0
# A token older than that is worth nothing: many of them, held up together, would leave at once.
FRESH_SECONDS = 0.15
BROKER_SECONDS = 1.0

# One token: 0, or the microseconds until there is one. The broker's clock is the only one.
TAKE = """
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local slack = (burst - 1) * interval
local empty = now + slack + interval
local kept = tonumber(redis.call('GET', KEYS[1]))
local full = math.min(kept or empty, empty)
local wait = full - slack - now
if wait <= 0 then
  full = math.max(full, now) + interval
elseif kept == full then
  return wait
end
redis.call('SET', KEYS[1], string.format('%.0f', full))
return math.max(wait, 0)
"""


class NoToken(Exception):
    """There is none in time; perhaps in so many seconds."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class Rates:
    """The rates of all vendors. One job a process and vendor asks at a time, the others behind
    it: so they are served in order, and the broker is asked once a token."""

    def __init__(self, broker_url: str, policies: Mapping[str, Policy]) -> None:
        self._policies = policies
        self._broker: Redis = Redis.from_url(
            broker_url,
            socket_timeout=BROKER_SECONDS,
            socket_connect_timeout=BROKER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._token = self._broker.register_script(TAKE)
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()

    def limits(self, vendor: str) -> bool:
        """Whether the vendor has a rate at all."""
        return self._policies[vendor].rate_per_second > 0

    async def take(self, vendor: str) -> None:
        """Wait for a token, up to a second. Raises NoToken."""
        self._waiting[vendor] += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._lines[vendor]:
                while (wait := await self._ask(vendor)) > 0:
                    if wait > PATIENCE_SECONDS:
                        raise self._none(vendor, wait)
                    await asyncio.sleep(wait)
        except TimeoutError:
            raise self._none(vendor, 0.0) from None
        finally:
            self._waiting[vendor] -= 1

    async def take_now(self, vendor: str) -> None:
        """Take a token if there is one. Raises NoToken."""
        try:
            async with asyncio.timeout(FRESH_SECONDS):
                wait = await self._ask(vendor)
        except TimeoutError:
            wait = FRESH_SECONDS
        if wait > 0:
            raise self._none(vendor, wait)

    async def close(self) -> None:
        await self._broker.aclose()

    async def _ask(self, vendor: str) -> float:
        policy = self._policies[vendor]
        interval = math.ceil(1e6 / policy.rate_per_second)
        try:
            wait: Any = await self._token(
                keys=[f"ferryman:rate:{vendor}"], args=[interval, policy.rate_burst]
            )
        except (RedisError, OSError):
            raise NoToken("the broker, which counts the rate, is away", BROKER_SECONDS) from None
        return int(wait) / 1e6

    def _none(self, vendor: str, wait: float) -> NoToken:
        """Those ahead in this process are served first."""
        ahead = self._waiting[vendor] / self._policies[vendor].rate_per_second
        return NoToken(f"waits for its turn in the rate of {vendor}", max(wait, ahead))


class AttemptPace:
    """The tokens of one attempt (`adapters._limits.Pace`). The first is taken before the job is
    claimed, so that a job without one is parked and uses no attempt."""

    def __init__(
        self, vendor: str, rates: Rates | None, hold: Callable[[], None] = lambda: None
    ) -> None:
        self._vendor = vendor
        self.refused = hold
        self._rates = rates if rates is not None and rates.limits(vendor) else None
        self._taken_at = float("-inf")
        self._spare = False
        self.quota: Quota | None = None

    async def admit(self) -> None:
        """A token for the attempt's first request. Raises NoToken."""
        if self._rates is not None:
            await self._rates.take(self._vendor)
            self._taken_at, self._spare = time.monotonic(), True

    async def take(self) -> None:
        if self._rates is None or (self._spare and self._is_fresh()):
            self._spare = False
            return
        try:
            await self._rates.take(self._vendor)
        except NoToken as none:
            raise _throttled(none) from None
        self._taken_at, self._spare = time.monotonic(), False

    async def renew(self) -> None:
        if self._rates is None or self._is_fresh():
            return
        try:
            await self._rates.take_now(self._vendor)
        except NoToken as none:
            raise _throttled(none) from None
        self._taken_at = time.monotonic()

    def saw(self, quota: Quota) -> None:
        self.quota = quota

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._taken_at < FRESH_SECONDS


def _throttled(none: NoToken) -> Throttled:
    return Throttled(none.reason, retry_after=none.seconds, local=True)
