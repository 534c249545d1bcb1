"""When may a request leave, by the rate of its vendor? All workers count in one key of the broker.

Time is cut into slots, as many a second as the vendor allows and some few less, and each request
has one of its own (GCRA: the key holds the moment at which the last slot that was given away
ends). A slot is given away a little ahead, and its request leaves when it begins or within some
milliseconds after: one that is later, held up by whatever, leaves its slot unused and takes
another. So the vendor sees in any second what it allows, whatever a process does meanwhile.

A missing key (the broker was wiped) is one from which all has been given away that could have
been: what left before the wipe and what leaves after it stay within the rate together.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters._base import Throttled
from adapters._limits import Quota
from ferryman.policies import Policy

# How long a job waits in memory for a slot, and for the broker's answer.
PATIENCE_SECONDS = 1.0
# So long ahead a slot is given away at the most: longer than it takes to claim a job and to mark
# its request, also on a busy machine.
AHEAD_SECONDS = 0.2
# So long after its slot has begun a request may leave.
LATE_SECONDS = 0.01
# So much longer than another it may be on its way, until the vendor counts it.
WAY_SECONDS = 0.03
# Of two slots whose requests come as near to each other as can be; slots are longer by that.
DRIFT = LATE_SECONDS + WAY_SECONDS
BROKER_SECONDS = 1.0

# By so much a second two clocks go apart, while one of them is being corrected.
SLEW = 0.0005

# By the broker's clock: when a slot begins or, with a 0 before it, when one can be had; and now.
TAKE = """
local interval, burst, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local slack = (burst - 1) * interval
local most = now + slack + ahead + interval
local kept = tonumber(redis.call('GET', KEYS[1]))
local ends = math.min(kept or most, most)
local begins = math.max(ends - slack, now)
local given = begins <= now + ahead
if given then
  ends = math.max(ends, now) + interval
end
if ends ~= kept then
  redis.call('SET', KEYS[1], string.format('%.0f', ends))
end
return {given and 1 or 0, given and begins or begins - ahead, now}
"""


class NoToken(Exception):
    """There is none in time; perhaps in so many seconds."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True)
class Slot:
    """From when until when a request may leave, by this process's monotonic clock."""

    begins: float
    ends: float

    def is_over(self) -> bool:
        return time.monotonic() > self.ends

    async def begun(self) -> bool:
        """Wait until it begins; whether a request may leave now."""
        if (wait := self.begins - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        return not self.is_over()


class Clock:
    """By how much the broker's clock is ahead of ours: between `least` and `most`. An answer that
    took long tells little, but each narrows what the others have told."""

    def __init__(self) -> None:
        self._least, self._most, self._at = float("-inf"), float("inf"), 0.0

    def see(self, asked: float, broker: float, told: float) -> None:
        """At some moment between these two of ours, it was that one there."""
        grown = (told - self._at) * SLEW
        least, most = self._least - grown, self._most + grown
        if broker - told > most or broker - asked < least:  # one of them was set
            least, most = float("-inf"), float("inf")
        self._least, self._most = max(least, broker - told), min(most, broker - asked)
        self._at = told

    def slot(self, broker: float) -> Slot:
        """That begins at this moment there: never left too early, nor too late."""
        return Slot(broker - self._least, broker - self._most + LATE_SECONDS)


class Rates:
    """The rates of all vendors. One job a process and vendor asks at a time, the others behind
    it: so they are served in order, and the broker is asked about once a slot."""

    def __init__(self, broker_url: str, policies: Mapping[str, Policy]) -> None:
        self._policies = policies
        self._broker: Redis = Redis.from_url(
            broker_url,
            socket_timeout=BROKER_SECONDS,
            socket_connect_timeout=BROKER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._take = self._broker.register_script(TAKE)
        self._clock = Clock()
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._outer: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()
        # Before that the broker would have none to give.
        self._next: defaultdict[str, float] = defaultdict(lambda: float("-inf"))

    def limits(self, vendor: str) -> bool:
        """Whether the vendor has a rate at all."""
        return self._policies[vendor].rate_per_second > 0

    async def admit(self, vendor: str) -> Slot:
        """A slot for a job that has not begun, within a second: those that have, go first. Raises
        NoToken."""
        return await self._wait(vendor, self._outer[vendor])

    async def take(self, vendor: str) -> Slot:
        """A slot, within a second. Raises NoToken."""
        return await self._wait(vendor, nullcontext())

    async def close(self) -> None:
        await self._broker.aclose()

    async def _wait(self, vendor: str, line: AbstractAsyncContextManager[None]) -> Slot:
        self._waiting[vendor] += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), line, self._lines[vendor]:
                while (wait := self._next[vendor] - time.monotonic()) <= PATIENCE_SECONDS:
                    await asyncio.sleep(max(0.0, wait))
                    if (slot := await self._ask(vendor)) is not None:
                        return slot
        except TimeoutError:
            pass
        finally:
            self._waiting[vendor] -= 1
        raise self._none(vendor)

    async def _ask(self, vendor: str) -> Slot | None:
        policy = self._policies[vendor]
        interval = (1 + DRIFT) / policy.rate_per_second
        numbers = [math.ceil(1e6 * interval), policy.rate_burst, round(1e6 * AHEAD_SECONDS)]
        asked = time.monotonic()
        try:
            answer: Any = await self._take(keys=[f"ferryman:rate:{vendor}"], args=numbers)
        except (RedisError, OSError):
            raise NoToken("the broker, which counts the rate, is away", BROKER_SECONDS) from None
        given, begins, now = answer[0], answer[1] / 1e6, answer[2] / 1e6
        self._clock.see(asked, now, time.monotonic())
        slot = self._clock.slot(begins)
        ahead = interval - AHEAD_SECONDS if given else 0.0
        if not given or policy.rate_burst == 1:
            self._next[vendor] = slot.begins + ahead
        return slot if given else None

    def _none(self, vendor: str) -> NoToken:
        """Those ahead in this process are served first."""
        ahead = (self._waiting[vendor] + 1) / self._policies[vendor].rate_per_second
        wait = self._next[vendor] - time.monotonic()
        return NoToken(f"waits for its turn in the rate of {vendor}", max(wait, ahead))


class AttemptPace:
    """The slots of one attempt (`adapters._limits.Pace`). The first is taken before the job is
    claimed, so that a job without one is parked and uses no attempt."""

    def __init__(
        self, vendor: str, rates: Rates | None, hold: Callable[[], None] = lambda: None
    ) -> None:
        self._vendor = vendor
        self.refused = hold
        self._rates = rates if rates is not None and rates.limits(vendor) else None
        self._slot: Slot | None = None
        self.quota: Quota | None = None

    async def admit(self) -> None:
        """A slot for the attempt's first request. Raises NoToken."""
        if self._rates is not None:
            self._slot = await self._rates.admit(self._vendor)

    async def take(self) -> None:
        if self._rates is None or (self._slot is not None and not self._slot.is_over()):
            return
        try:
            self._slot = await self._rates.take(self._vendor)
        except NoToken as none:
            raise Throttled(none.reason, retry_after=none.seconds, local=True) from None

    async def renew(self) -> None:
        if self._rates is None:
            return
        while True:
            await self.take()
            slot, self._slot = self._slot, None
            if slot is not None and await slot.begun():
                return

    def saw(self, quota: Quota) -> None:
        self.quota = quota
