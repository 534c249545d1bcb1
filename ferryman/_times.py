"""Points in time as people and programs give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ferryman.errors import InvalidArguments

_SPAN = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(field: str, given: datetime | str) -> datetime:
    """A time with its zone. Raises InvalidArguments naming `field`."""
    try:
        at = datetime.fromisoformat(given) if isinstance(given, str) else given
        if isinstance(at, datetime) and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidArguments(field, "must be a time with its zone, such as 2030-01-31T09:00:00Z")


def later(field: str, given: str) -> datetime:
    """A time, or `10m` (s, m, h, d) from now. Raises InvalidArguments naming `field`."""
    return _relative(given.removeprefix("+"), 1) or moment(field, given)


def earlier(field: str, given: str) -> datetime:
    """A time, or `10m` (s, m, h, d) ago. Raises InvalidArguments naming `field`."""
    return _relative(given, -1) or moment(field, given)


def rfc3339(at: datetime) -> str:
    """As it stands in JSON."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _relative(given: str, sign: int) -> datetime | None:
    if not (found := _SPAN.fullmatch(given)):
        return None
    span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.now(UTC) + sign * span
    except OverflowError:
        return None
