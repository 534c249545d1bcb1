"""What records of events, people and contacts have in common: what never changes in a repeat."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ferryman import _times

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def record_id(job: UUID, place: int | None = None) -> str:
    """What the vendor knows a record by, the same in every attempt: of a job with one record its
    own id, of one with many also the place, in 36 characters at most."""
    return str(job) if place is None else f"{job.hex}-{_base36(place)}"


def moment(given: str | None, made: datetime) -> datetime:
    """When it happened: as is told, or else when its job was made."""
    return made if given is None else _times.moment("at", given)


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
        if not number:
            return digits
