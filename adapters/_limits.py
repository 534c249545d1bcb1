"""What do a vendor's headers say of its limits, and who gives leave to send the next request?"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from email.utils import parsedate_to_datetime
from typing import ClassVar, Protocol

from adapters._base import Response, Throttled

# A larger number in a reset header is a time, not a duration (2001 after Christ, or 31 years).
EARLIEST_EPOCH = 1e9
# What is left of the window, its size, its end. A vendor with other names adds a line; one with
# two windows, the longer one first. Those of a whole day have "daily" in their names.
QUOTA_HEADERS = (
    ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),
    ("x-hubspot-ratelimit-daily-remaining", "x-hubspot-ratelimit-daily", ""),
    ("x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-max", ""),
)
# Salesforce tells what is used: `api-usage=18/5000`, and what else follows a semicolon.
USED = re.compile(r"(?:^|[;,\s])api-usage=(\d{1,18})/(\d{1,18})(?!\d)", re.ASCII)


@dataclass(frozen=True)
class Quota:
    """A vendor's count of our requests. `reset_seconds`: until its window ends. `daily`: that is a
    whole day, so nobody must wait for it with a job in hand."""

    remaining: int
    limit: int | None
    reset_seconds: float | None
    daily: bool = False


class DailyLimit(Throttled):
    """A limit of a whole day is reached: nothing goes before that day ends, however long it is."""

    default_code: ClassVar[str] = "daily_limit"


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
            until = _until(answer.headers.get(reset, ""), answer)
            return Quota(left, size, until, daily="daily" in remaining)
    if used := USED.search(answer.headers.get("sforce-limit-info", "")):
        count, most = int(used[1]), int(used[2])
        return Quota(max(0, most - count), most, None, daily=True)
    return None


def next_day(day_ends: str, now: datetime) -> datetime:
    """When the account's day ends next. `day_ends`: a time of day with its zone."""
    moment = clock.fromisoformat(day_ends)
    local = now.astimezone(moment.tzinfo or UTC)
    ends = datetime.combine(local.date(), moment)
    return (ends if ends > local else ends + timedelta(days=1)).astimezone(UTC)


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
