"""Look at a job or batch until it has ended, with progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _show
from ferryman.errors import NotFound

if TYPE_CHECKING:
    from ferryman._door import Controls, Door

Document = dict[str, Any]
Progress = Callable[[str, int, int | None], None]

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.25
OVER = ("done", "cancelled")
OPEN = ("waiting", "sending")


def job(
    door: Door | Controls, id: UUID, progress: Progress | None = None, timeout: float | None = None
) -> Document:
    """The job once it has ended (`unknown` counts: only a look from outside goes on from there),
    or as it is after `timeout` seconds."""
    until = float("inf") if timeout is None else time.monotonic() + timeout
    asked = False
    while True:
        found = door.job(id, wait=max(0.0, min(LOOK_SECONDS, until - time.monotonic())))
        if not asked and (url := action_url(found)):
            asked = True
            _show.note(f"its payer has to agree at {url}")
        left = until - time.monotonic()
        if not is_open(found) or left <= 0:
            return found
        if progress:
            progress(state(found), 0, None)
        time.sleep(min(PAUSE_SECONDS, left))


def job_with_its_reason(door: Door, id: UUID, title: str, timeout: float | None) -> Document:
    """The same; on a terminal, people see meanwhile how it is and why it waits."""
    if not sys.stderr.isatty():
        return job(door, id, timeout=timeout)
    with shown(title, counted=False) as progress:
        return job(door, id, progress, timeout)


def action_url(found: Document) -> str | None:
    """Where the payer of a waiting job has to go, if that is what it waits for."""
    result = found.get("result") or {}
    return result.get("action_url") if is_open(found) else None


def is_open(found: Document) -> bool:
    """Whether the job will go on by itself."""
    return found["status"] in ("waiting", "running")


def batch(door: Door, id: UUID, progress: Progress) -> Document:
    """The batch of a bulk job once it is over; the job itself where it ended without one."""
    while (found := _batch(door, id)) is None:
        planning = door.job(id)
        if _show.job_status(planning):
            return planning
        progress(f"planning, {state(planning)}", 0, None)
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
    columns.append(TimeElapsedColumn())
    # The last state that a spinner told is out of date by the end.
    with Bar(*columns, console=Console(stderr=True), transient=not counted) as bar:
        task = bar.add_task(title, total=None)

        def progress(state: str, done: int, total: int | None) -> None:
            words = f"{title}: {state}"
            bar.update(task, description=words, completed=done, total=total, refresh=True)

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


def state(found: Document) -> str:
    """How a job is, and why."""
    reason = _show.why(found)
    return f"{found['status']} ({reason})" if reason else str(found["status"])
