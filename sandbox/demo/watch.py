"""What does one see while it runs? A live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ferryman.errors import FerrymanError
from sandbox.demo.ledger import Counts, Ledger

STATUSES = ("waiting", "running", "succeeded", "failed", "unknown")
LOOK_SECONDS = 0.15
# Without a terminal, a line so often at most, and only if there is news.
LINE_SECONDS = 1.0


class Stuck(FerrymanError):
    """Something did not happen in time."""


class Watch:
    """Tells the story on a console, each line with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._begun = time.monotonic()
        self._told = ""
        self._told_at = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def act(self, title: str) -> None:
        self.console.print(f"\n[bold]{title}[/bold]", highlight=False)

    def say(self, words: str) -> None:
        self.console.print(
            f"{self.seconds:5.1f} s  {words}", markup=False, highlight=False, soft_wrap=True
        )

    def until(
        self, done: Callable[[], bool], ledger: Ledger, what: str, seconds: float = 60.0
    ) -> None:
        """Show the jobs until `done`. Raises Stuck, telling what still waits and why."""
        end = time.monotonic() + seconds
        with self._shown() as show:
            while not done():
                counts = ledger.counts()
                if time.monotonic() > end:
                    raise Stuck(f"{what} took longer than {seconds:g} s. {line(counts)}")
                show(counts)
                time.sleep(LOOK_SECONDS)

    @contextmanager
    def _shown(self) -> Iterator[Callable[[Counts], None]]:
        if not self.console.is_terminal:
            yield self._news
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            yield lambda counts: live.update(self._table(counts), refresh=True)

    def _news(self, counts: Counts) -> None:
        words = line(counts)
        if words != self._told and time.monotonic() > self._told_at + LINE_SECONDS:
            self._told, self._told_at = words, time.monotonic()
            self.say(f"  {words}")

    def _table(self, counts: Counts) -> Group:
        table = Table(box=None, padding=(0, 2))
        table.add_column(f"{self.seconds:5.1f} s")
        for status in STATUSES:
            table.add_column(status, justify="right")
        for kind, count in counts.by_kind.items():
            table.add_row(kind, *(str(count[status] or "·") for status in STATUSES))
        return Group(table, *(Text(f"  {words}", style="dim") for words in _reasons(counts)))


def line(counts: Counts) -> str:
    """The same in one line: what has not ended, and why."""
    total = sum(count.total() for count in counts.by_kind.values())
    left = {kind: count["waiting"] + count["running"] for kind, count in counts.by_kind.items()}
    kinds = ", ".join(f"{number} {kind}" for kind, number in left.items() if number) or "none"
    return "; ".join([f"of {total} jobs are left: {kinds}", *_reasons(counts)])


def _reasons(counts: Counts) -> list[str]:
    return [f"{number} waiting: {reason}" for reason, number in counts.reasons]
