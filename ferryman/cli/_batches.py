"""Look at a batch until it is over, with a bar on standard error, and say how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ferryman.cli import _follow, _show
from ferryman.errors import Unreachable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from ferryman._door import Controls, Door

Document = dict[str, Any]
Bar = Callable[[str, int, int | None], None]

OPEN = ("waiting", "sending")
OVER = ("done", "cancelled")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
# So long an API or a database may be away, to be restarted for instance, before we stop looking.
PATIENCE_SECONDS = 60.0
A_MINUTE = timedelta(minutes=1)
# Requests of a thousand mails, or a batch of so many a minute, go in steps: the rate is of longer.
RATE_SECONDS = 120.0


def followed(door: Door | Controls, id: UUID, what: str, as_json: bool) -> int:
    """Wait for the end of a batch, print it, and return its exit status. `what`: its mails, or
    its messages."""
    try:
        with shown(what) as bar:
            found = _ended(door, id, bar)
    except KeyboardInterrupt:
        _show.note(f"the batch goes on without you; to look again: ferryman batch {id} --wait")
        raise
    if as_json:
        _show.document(found)
    elif "counts" in found:
        _show.batch(found)
    else:
        _show.job(found)
    return _judged(door, found)


def _ended(door: Door | Controls, id: UUID, bar: Bar) -> Document:
    """The batch once it is over, or paused; its bulk job where that ended without a plan."""
    pause, told = FIRST_PAUSE, False
    while True:
        found = patiently(lambda: door.batch(id), bar)
        if not found["planned_at"] and found["status"] != "paused":
            job = patiently(lambda: door.job(id), bar)
            if _show.job_status(job):
                return job
            told = told or _tell_when(job)
            bar("planning" if job["status"] == "running" else _follow.state(job), 0, None)
        else:
            _tell(found, bar)
            if found["status"] in OVER or _stopped(found):
                return found
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE)


def _tell_when(job: Document) -> bool:
    """Whether it is planned for later; then that is told."""
    later = datetime.fromisoformat(job["run_at"]) - datetime.now(UTC)
    # A retry of the plan comes sooner.
    if job["status"] != "waiting" or later < A_MINUTE:
        return False
    _show.note(f"nothing is sent before {job['run_at']}")
    return True


def _stopped(found: Document) -> bool:
    """Paused, and what had left by then has been answered."""
    return bool(found["status"] == "paused" and not found["counts"]["sending"])


def _tell(found: Document, bar: Bar) -> None:
    left = sum(found["counts"][name] for name in OPEN)
    bar(found["status"], found["total"] - left, found["total"])


def patiently(look: Callable[[], Document], bar: Bar) -> Document:
    """What is seen, also where nobody answers for a while. Raises Unreachable after that."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return look()
        except Unreachable:
            if time.monotonic() > until:
                raise
            bar("no answer", 0, None)
            time.sleep(LONGEST_PAUSE)


def _judged(door: Door | Controls, found: Document) -> int:
    if "counts" not in found:
        return _show.job_status(found)
    if found["kind"] == _show.SYNC and found["status"] in OVER:
        return _judged_by_its_job(door, found)
    counts, command = found["counts"], f"ferryman batch {found['id']}"
    if any(counts.get(name) for name in _show.ASIDE):
        _show.note(f"who was set aside, and why: {command} --recipients")
    if unknown := counts.get("unknown"):
        _show.note(f"of {unknown:,} it is unknown; the vendor's events may still tell: {command}")
    if found["status"] == "paused":
        _show.note(f"the batch is {_show.batch_state(found)}")
        _show.note(f"to go on: {command} --resume --wait")
        return _show.FAILED
    if found["total"] and not counts.get("sent") and not counts.get("unknown"):
        _show.note(f"nothing was sent: {_show.counts(found)}")
        return _show.FAILED
    return _show.batch_status(found)


def _judged_by_its_job(door: Door | Controls, found: Document) -> int:
    """A sync that had nothing to copy has succeeded all the same."""
    job = door.job(UUID(found["id"]))
    if why := _show.why(job):
        _show.note(why)
    if any(found["objects"][name] for name in ("refused", "failed")):
        _show.note(f"which ones, and why: ferryman batch {found['id']} --objects")
    return _show.job_status(job)


@contextmanager
def shown(what: str) -> Iterator[Bar]:
    """A bar on the terminal: done of all, rate, time left, time since. Elsewhere its last state
    alone, at the end."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*_columns(), console=console, speed_estimate_period=RATE_SECONDS) as shown:
        task = shown.add_task(what, total=None)

        def bar(state: str, done: int, total: int | None) -> None:
            words = f"{what}: {state}"
            if total is None:
                shown.update(task, description=words, refresh=True)
            else:
                shown.update(task, description=words, completed=done, total=total, refresh=True)

        yield bar


def _columns() -> tuple[ProgressColumn, ...]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            return super().render(task).append(" left," if task.total else "")

    words = TextColumn("{task.description}", markup=False)
    return words, BarColumn(20), MofNCompleteColumn(), Rate(), Left(), TimeElapsedColumn()
