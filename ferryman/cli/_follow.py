"""Look at a job or batch until it has ended, with progress on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _show
from ferryman.errors import NotFound

if TYPE_CHECKING:
    from ferryman._door import Door

Document = dict[str, Any]
Progress = Callable[[str, int, int | None], None]

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.25
OVER = ("done", "cancelled")
OPEN = ("waiting", "sending")


def job(door: Door, id: UUID, progress: Progress | None = None) -> Document:
    """The job once it has ended (`unknown` counts: only a look from outside goes on from there)."""
    while True:
        found = door.job(id, wait=LOOK_SECONDS)
        if found["status"] not in ("waiting", "running"):
            return found
        if progress:
            progress(_state(found), 0, None)
        time.sleep(PAUSE_SECONDS)


def batch(door: Door, id: UUID, progress: Progress) -> Document:
    """The batch of a bulk job once it is over; the job itself where it ended without one."""
    while (found := _batch(door, id)) is None:
        planning = door.job(id)
        if _show.job_status(planning):
            return planning
        progress(f"planning, {_state(planning)}", 0, None)
        time.sleep(PAUSE_SECONDS)
    while found["status"] not in OVER:
        left = sum(found["counts"][name] for name in OPEN)
        progress(found["status"], found["total"] - left, found["total"])
        time.sleep(PAUSE_SECONDS)
        found = door.batch(UUID(found["id"]))
    progress(found["status"], found["total"], found["total"])
    return found


@contextmanager
def shown(title: str, *, counted: bool) -> Iterator[Progress]:
    """A bar on the terminal, or a spinner where nothing is counted; without a terminal, nothing
    until the end."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bar

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    columns += [BarColumn(), MofNCompleteColumn()] if counted else [SpinnerColumn()]
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)

        def progress(state: str, done: int, total: int | None) -> None:
            bar.update(task, description=f"{title}: {state}", completed=done, total=total)

        yield progress


def _batch(door: Door, id: UUID) -> Document | None:
    found = door.job(id)
    if not found.get("batch_id"):
        return None
    try:
        return door.batch(UUID(found["batch_id"]))
    except NotFound:
        # Named already, but not planned yet.
        return None


def _state(found: Document) -> str:
    reason = _show.why(found)
    return f"{found['status']} ({reason})" if reason else str(found["status"])
