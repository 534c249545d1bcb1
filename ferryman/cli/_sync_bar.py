"""Look at a sync until it has ended, with a bar on standard error: objects, bytes, rate, time
left."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _batches, _follow, _show

if TYPE_CHECKING:
    from ferryman._door import Door

Document = dict[str, Any]
Bar = Callable[[Document, Document], None]

# The rate is that of the last so many seconds.
WINDOW_SECONDS = 15.0
# What an object costs beside its bytes, about: so a million small ones and a few huge ones give one
# bar, and one time left.
OBJECT_BYTES = 64 * 1024
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# From here on the next unit is easier to read.
THOUSAND = 1000


def followed(door: Door, id: UUID) -> Document:
    """The job of a sync once it has ended, or nobody knows how it does."""
    try:
        with _shown() as bar:
            return _ended(door, id, bar)
    except KeyboardInterrupt:
        _show.note(f"the sync goes on without you; to look again: ferryman job {id} --wait")
        raise


class Pace:
    """How fast a sync goes. Times in seconds, of any clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def add(self, at: float, bytes: int, objects: int) -> None:
        """So much was done at that moment."""
        self._seen.append((at, bytes, objects))
        while len(self._seen) > 2 and at - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()

    def rates(self) -> tuple[float, float]:
        """Bytes and objects in a second; 0 as long as nothing is known."""
        if not self._seen or (passed := self._seen[-1][0] - self._seen[0][0]) <= 0:
            return 0.0, 0.0
        (_, *first), (_, *last) = self._seen[0], self._seen[-1]
        # A part that is begun again has less done than before.
        bytes_more, objects_more = (max(b - a, 0) for a, b in zip(first, last, strict=True))
        return bytes_more / passed, objects_more / passed

    def left(self, bytes: int, objects: int) -> float | None:
        """Seconds for so much more; None: that cannot be told."""
        by_bytes, by_objects = self.rates()
        pace = by_bytes + by_objects * OBJECT_BYTES
        return (bytes + objects * OBJECT_BYTES) / pace if pace else None


def phase(job: Document, batch: Document) -> str:
    """What a sync is about, in words."""
    if batch["status"] != "running":
        return _show.batch_state(batch)
    if not batch["planned_at"]:
        listing = job["status"] == "running" or batch["total"]
        return "listing" if listing else _follow.state(job)
    counted = batch["objects"]
    if not counted["waiting"]:
        return "finishing"
    return "deleting" if counted["deleted"] else "copying"


def told(batch: Document, pace: Pace) -> str:
    """`1,234/20,000 objects, 1.2/3.4 GB, 85.1 MB/s, 0:00:32 left`."""
    counted, total = batch["objects"], batch["total"]
    open_ones, bytes_open = counted["waiting"], counted["bytes"] - counted["bytes_done"]
    by_bytes, by_objects = pace.rates()
    said = [f"{total - open_ones:,}/{total:,} objects"]
    if counted["bytes"]:
        said.append(f"{size(counted['bytes_done'])}/{size(counted['bytes'])}")
    if by_bytes:
        said.append(f"{size(by_bytes)}/s")
    elif by_objects:
        said.append(f"{by_objects:,.0f}/s")
    # Before all is listed, nobody knows what is left.
    if batch["planned_at"] and (left := pace.left(bytes_open, open_ones)) is not None:
        said.append(f"{timedelta(seconds=round(left))} left")
    return ", ".join(said)


def size(number: float) -> str:
    """Bytes as `3.4 GB`, in powers of a thousand."""
    for unit in UNITS[:-1]:
        if number < THOUSAND - 0.5:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= THOUSAND
    return f"{number:.1f} {UNITS[-1]}"


def work(batch: Document) -> tuple[int, int]:
    """How much is done, and of how much; the bar's own unit."""
    counted, total = batch["objects"], batch["total"]
    done = counted["bytes_done"] + (total - counted["waiting"]) * OBJECT_BYTES
    return done, counted["bytes"] + total * OBJECT_BYTES


def _ended(door: Door, id: UUID, bar: Bar | None) -> Document:
    while True:
        found = _batches.patiently(lambda: door.job(id, wait=_follow.LOOK_SECONDS), _quiet)
        if not _follow.is_open(found):
            return found
        if bar is not None:
            bar(found, _batches.patiently(lambda: door.batch(id), _quiet))
        time.sleep(_follow.PAUSE_SECONDS)


def _quiet(state: str, done: int, total: int | None) -> None:
    """The bar stays as it was while nobody answers."""


@contextmanager
def _shown() -> Iterator[Bar | None]:
    """A bar on the terminal, gone at the end; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(12),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    pace = Pace()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("sync", total=None, told="")

        def bar(job: Document, batch: Document) -> None:
            counted = batch["objects"]
            pace.add(time.monotonic(), counted["bytes_done"], batch["total"] - counted["waiting"])
            done, total = work(batch)
            shown.update(
                task,
                description=f"sync: {phase(job, batch)}",
                completed=done,
                total=total if batch["planned_at"] else None,
                told=told(batch, pace),
                refresh=True,
            )

        yield bar
