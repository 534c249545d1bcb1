"""One load's records at the vendor: in one request, or in pieces where it refuses that as a whole.

A request that is refused without a word about its records is cut in halves, until the bad record is
alone: so it is refused by itself, and the others go through.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from adapters._records import STEP, Outcome, Record, Trouble, Whole

# Enough to find some bad ones among thousands; what is left then goes in another load.
MOST_REQUESTS = 64
LEFT = Trouble("vendor_unavailable", "its load was cut into too many pieces", again=1.0)
# Of a limit that a vendor has shown by a 413.
LEAST_BYTES = 32 * 1024
REMEMBERED_SECONDS = 3600.0

Send = Callable[[Sequence[Record], str], Awaitable[Outcome]]


@dataclass
class Delivery:
    """What became of the records, by their places. `steps`: of which the vendor has told. `large`:
    the bytes of the smallest request that was too large for it."""

    troubles: dict[int, Trouble] = field(default_factory=dict)
    references: dict[int, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    large: int | None = None


async def deliver(send: Send, records: Sequence[Record], most_bytes: int) -> Delivery:
    """Send them all. What a request raises, other than that it is refused as a whole, ends it: then
    all of them may be sent again."""
    found = Delivery()
    pieces = [(STEP, 0, len(records))]
    while pieces:
        step, first, end = pieces.pop()
        piece = records[first:end]
        large = len(piece) > 1 and size(piece) > most_bytes
        if len(found.steps) >= MOST_REQUESTS:
            found.troubles |= dict.fromkeys(range(first, end), LEFT)
        elif large or await _must_be_cut(send, step, first, piece, found):
            pieces += _halves(step, first, end)
    return found


async def _must_be_cut(
    send: Send, step: str, first: int, piece: Sequence[Record], found: Delivery
) -> bool:
    """Send it, and note what became of it; True where the vendor refuses it as a whole."""
    try:
        outcome = await send(piece, step)
    except Whole as whole:
        found.steps.append(step)
        if len(piece) == 1:
            found.troubles[first] = whole.trouble
            return False
        if whole.too_large:
            found.large = min(size(piece), found.large or size(piece))
        return True
    found.steps.append(step)
    found.troubles |= {first + place: one for place, one in outcome.troubles.items()}
    found.references |= {first + place: one for place, one in outcome.references.items()}
    return False


def _halves(step: str, first: int, end: int) -> list[tuple[str, int, int]]:
    """The first one last, since it is taken first."""
    middle = (first + end) // 2
    return [(f"{step}.1", middle, end), (f"{step}.0", first, middle)]


def size(records: Sequence[Record]) -> int:
    """Bytes, before they are packed."""
    return sum(len(record.body) + 1 for record in records)


class Sizes:
    """How large a request each vendor takes, as far as this process has found out."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}

    def most(self, vendor: str, setting: int) -> int:
        """In bytes; by the settings, or less for an hour after a 413."""
        least, until = self._known.get(vendor, (setting, 0.0))
        return min(setting, least) if time.monotonic() < until else setting

    def forget(self) -> None:
        self._known.clear()

    def too_large(self, vendor: str, bytes: int) -> None:
        """So many were too many."""
        until = time.monotonic() + REMEMBERED_SECONDS
        self._known[vendor] = max(LEAST_BYTES, bytes // 2), until
