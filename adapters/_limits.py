"""What do a vendor's headers say of its limits, and who gives leave to send the next request?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from adapters._base import Response

# A larger number in a reset header is a time, not a duration (2001 after Christ, or 31 years).
EARLIEST_EPOCH = 1e9
# What is left of the window, its size, its end. A vendor with other names adds a line.
QUOTA_HEADERS = (("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),)


@dataclass(frozen=True)
class Quota:
    """A vendor's count of our requests. `reset_seconds`: until its window ends."""

    remaining: int
    limit: int | None
    reset_seconds: float | None


class Pace(Protocol):
    """One attempt's leave to send, where a vendor has a rate."""

    async def take(self) -> None:
        """Wait for leave for one request, up to a second; it may be for a moment soon to come.
        Raises Throttled, `local`."""
        ...

    async def renew(self) -> None:
        """The request's bytes leave when this ends: wait for that moment. A leave whose moment has
        passed is changed for another. Raises Throttled, `local`."""
        ...

    def saw(self, quota: Quota) -> None:
        """What an answer said is left."""
        ...

    def refused(self) -> None:
        """The vendor takes no more for now, whoever asks: those that wait for a slot wait on."""
        ...


class Unpaced:
    """The pace of a vendor without a rate."""

    async def take(self) -> None: ...

    async def renew(self) -> None: ...

    def saw(self, quota: Quota) -> None: ...

    def refused(self) -> None: ...


class Gate:
    """What a request of one attempt passes when its bytes are about to leave. `shut`: it stands
    before it, so that nothing has left."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.shut = False
        self.pass_now()

    async def __call__(self) -> None:
        self.shut = True
        await self._pace.renew()
        self.shut = False
        self.pass_now()

    def pass_now(self) -> None:
        self.at, self._passed = datetime.now(UTC), time.monotonic()

    def milliseconds(self) -> int:
        """Since the request left."""
        return round((time.monotonic() - self._passed) * 1000)


def retry_after(answer: Response) -> float | None:
    """Seconds to wait by the Retry-After header, given in seconds or as an HTTP date."""
    given = answer.headers.get("retry-after", "").strip()
    if not given:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, (_moment(given) - _now(answer)).total_seconds())
    except (TypeError, ValueError):
        return None


def rate_limit_reset(answer: Response) -> float | None:
    """Seconds until the limit is reset by the X-RateLimit-Reset header."""
    return _until(answer.headers.get("x-ratelimit-reset", ""), answer)


def quota(answer: Response) -> Quota | None:
    """What the answer says is left, or None where it says nothing."""
    for remaining, limit, reset in QUOTA_HEADERS:
        if (left := _count(answer.headers.get(remaining))) is not None:
            size = _count(answer.headers.get(limit))
            return Quota(left, size, _until(answer.headers.get(reset, ""), answer))
    return None


def _count(given: str | None) -> int | None:
    return int(given) if given is not None and given.isascii() and given.isdigit() else None


def _now(answer: Response) -> datetime:
    """The vendor's own clock, where it tells it: it is the one that its dates are of, and ours may
    be wrong."""
    try:
        return _moment(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        return datetime.now(UTC)


def _moment(given: str) -> datetime:
    found = parsedate_to_datetime(given)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _until(given: str, answer: Response) -> float | None:
    """Seconds, from an epoch or, at some vendors, a number of seconds. A moment that is past tells
    nothing."""
    try:
        number = float(given)
    except ValueError:
        return None
    seconds = number - _now(answer).timestamp() if number > EARLIEST_EPOCH else number
    return seconds if seconds > 0 else None
