"""Look at a job until it has ended, with how it is on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _show

if TYPE_CHECKING:
    from ferryman._door import Controls, Door

Document = dict[str, Any]
Progress = Callable[[str], None]

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.25


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
            progress(state(found))
        time.sleep(min(PAUSE_SECONDS, left))


def job_with_its_reason(door: Door, id: UUID, title: str, timeout: float | None) -> Document:
    """The same; on a terminal, people see meanwhile how it is and why it waits."""
    with shown(title) as progress:
        return job(door, id, progress, timeout)


def action_url(found: Document) -> str | None:
    """Where the payer of a waiting job has to go, if that is what it waits for."""
    result = found.get("result") or {}
    return result.get("action_url") if is_open(found) else None


def is_open(found: Document) -> bool:
    """Whether the job will go on by itself."""
    return found["status"] in ("waiting", "running")


@contextmanager
def shown(title: str) -> Iterator[Progress]:
    """A spinner with the last state on the terminal, gone at the end; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda state: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        SpinnerColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def progress(state: str) -> None:
            bar.update(task, description=f"{title}: {state}", refresh=True)

        yield progress


def state(found: Document) -> str:
    """How a job is, and why."""
    reason = _show.why(found)
    return f"{found['status']} ({reason})" if reason else str(found["status"])
