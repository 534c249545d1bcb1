"""Contestants side by side: interleaved runs, so that the machine's moods meet all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from bench.http_load import Load
from bench.http_load import median as middle_of
from bench.measure import Run, median

Contestants = Mapping[str, Callable[[], Run]]
Runs = dict[str, list[Run]]

console = Console(width=120)


def interleaved(contestants: Contestants, rounds: int) -> Runs:
    """Each contestant's runs, one a round."""
    runs: Runs = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            runs[name].append(run())
    return runs


def report(title: str, runs: Runs, ours: str = "ferryman") -> None:
    """The configuration, the figures, and ours beside each other's."""
    table = Table("", "jobs/s", "CPU ms a job", "memory MiB", "jobs/s of each run")
    for name, found in runs.items():
        middle = median(found)
        each = ", ".join(f"{run.jobs_per_second:.0f}" for run in found)
        table.add_row(
            name,
            f"{middle.jobs_per_second:.0f}",
            f"{middle.cpu_ms_per_job:.2f}",
            f"{middle.memory_mib:.0f}",
            each,
        )
    console.print(f"\n{title}; median of {len(runs[ours])} interleaved runs", table)
    for name in runs:
        if name != ours:
            console.print(ratio(runs, ours, name))


def ratio(runs: Runs, ours: str, theirs: str) -> str:
    """One line: ours divided by theirs."""
    a, b = median(runs[ours]), median(runs[theirs])
    return (
        f"{ours} / {theirs}: throughput {a.jobs_per_second / b.jobs_per_second:.2f},"
        f" CPU a job {a.cpu_ms_per_job / b.cpu_ms_per_job:.2f}"
    )


def report_loads(title: str, runs: Mapping[str, list[Load]], ours: str = "ferryman") -> None:
    """The same for servers under load."""
    table = Table("", "requests/s", "p50 ms", "p99 ms", "requests/s of each run")
    for name, found in runs.items():
        middle = middle_of(found)
        each = ", ".join(f"{run.per_second:.0f}" for run in found)
        figures = (f"{middle.per_second:.0f}", f"{middle.p50_ms:.1f}", f"{middle.p99_ms:.1f}")
        table.add_row(name, *figures, each)
    console.print(f"\n{title}; median of {len(runs[ours])} interleaved runs", table)
    for name, found in runs.items():
        if name != ours:
            times = middle_of(runs[ours]).per_second / middle_of(found).per_second
            console.print(f"{ours} / {name}: {times:.2f} times the requests a second")
