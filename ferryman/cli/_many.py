"""Store many jobs, and look at them until all have ended, with a bar on standard error."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _batches, _follow, _show
from ferryman.errors import FerrymanError, InvalidArguments, NotFound, Unreachable

if TYPE_CHECKING:
    from ferryman._door import Answer, Door
    from ferryman._order import Order

Document = dict[str, Any]
Bar = _batches.Bar

# In the order in which they are told.
STATUSES = ("waiting", "succeeded", "failed", "unknown", "cancelled")
CHUNK = 1000
# Looked at in one round. They end in about the order in which they were made, so that those behind
# need no look yet.
WINDOW = 10_000
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0


@dataclass
class Stored:
    """The jobs that lines of a file have become: the first line of each, those still open in the
    order of their lines, and what became of the others. `refused`: lines that only the ledger could
    refuse, whose key stands for something else."""

    lines: dict[UUID, int] = field(default_factory=dict)
    open: dict[UUID, None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[Document] = field(default_factory=list)
    refused: list[Document] = field(default_factory=list)

    def add(self, line: int, answer: UUID | FerrymanError) -> None:
        """Raises InvalidArguments for what is wrong with all lines alike."""
        if isinstance(answer, InvalidArguments) and answer.field == "vendor":
            raise answer
        if isinstance(answer, FerrymanError):
            self.refused.append({"line": line, "message": str(answer)})
        elif answer not in self.lines:
            self.lines[answer] = line
            self.open[answer] = None

    def see(self, found: Document) -> None:
        """A job as it is now."""
        if _follow.is_open(found):
            return
        job_id = UUID(found["id"])
        del self.open[job_id]
        self.counts[found["status"]] += 1
        if found["status"] != "succeeded":
            self.troubles.append({"line": self.lines[job_id], **found})

    def document(self) -> Document:
        """The whole, for scripts."""
        counts = self.counts + Counter(waiting=len(self.open))
        return {
            "total": len(self.lines),
            "counts": {name: counts[name] for name in STATUSES if counts[name]},
            "troubles": sorted(self.troubles, key=lambda one: int(one["line"])),
            "refused": self.refused,
        }


def stored(door: Door, orders: Iterator[tuple[int, Order]], total: int, bar: Bar) -> Stored:
    """Store them by the thousand, a transaction each. Raises Unreachable; what is stored by then
    goes on, and is told of."""
    made, done = Stored(), 0
    for chunk, under_way in _sent(door, orders):
        try:
            answers = under_way.result()
        except Unreachable:
            first, last = chunk[0][0], chunk[-1][0]
            _show.note(f"the {done:,} before line {first} are stored, and go on")
            _show.note(f"whether lines {first} to {last} are is not known; none behind them is")
            raise
        for (line, _), answer in zip(chunk, answers, strict=True):
            made.add(line, answer)
        done += len(chunk)
        bar("storing", done, total)
    return made


def _sent(
    door: Door, orders: Iterator[tuple[int, Order]]
) -> Iterator[tuple[list[tuple[int, Order]], Future[list[Answer]]]]:
    """The next lines are read and checked while a thousand are on their way."""
    with ThreadPoolExecutor(1, thread_name_prefix="ferryman-track") as thread:
        last = None
        while chunk := list(islice(orders, CHUNK)):
            if last:
                yield last
            last = chunk, thread.submit(door.enqueue_many, [order for _, order in chunk])
        if last:
            yield last


def followed(door: Door, made: Stored, bar: Bar) -> None:
    """Look until every one has ended (`unknown` counts)."""
    pause, total = FIRST_PAUSE, len(made.lines)
    while made.open:
        first = _batches.patiently(lambda: _look(door, made), bar)
        bar(_follow.state(first), total - len(made.open), total)
        if made.open:
            time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE)


def _look(door: Door, made: Stored) -> Document:
    """Look at the oldest that are open; the first of those that are so still."""
    window = list(islice(made.open, WINDOW))
    for start in range(0, len(window), CHUNK):
        asked = window[start : start + CHUNK]
        found = door.states(asked)
        if len(found) < len(asked):
            raise NotFound("some of these jobs are not there any more")
        for one in found:
            made.see(one)
    first = next(iter(made.open), None)
    return door.job(first) if first else {"status": "done"}


def status(made: Stored) -> int:
    """The exit status: unknown comes before failed, since those must not simply be sent again."""
    if made.counts["unknown"]:
        return _show.UNKNOWN
    if made.refused:
        return _show.BAD_INPUT
    return _show.FAILED if made.counts["failed"] or made.counts["cancelled"] else _show.DONE
