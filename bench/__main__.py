"""`python -m bench`: what the ledger costs. The full walk beside bare Celery that persists nothing,
same processes, same concurrency, same fake vendor, in interleaved runs on this machine."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench import bare, walk
from bench.measure import Run, vendor
from worker.supervisor.servers import embedded


@click.command(help=__doc__)
@click.option("--jobs", default=3000, show_default=True, help="Jobs a run.")
@click.option("--processes", default=2, show_default=True, help="Worker processes.")
@click.option("--concurrency", default=50, show_default=True, help="Calls in flight a process.")
@click.option("--latency", default=0.05, show_default=True, help="The vendor's, in seconds.")
@click.option("--rounds", default=3, show_default=True, help="Interleaved runs of each.")
def main(jobs: int, processes: int, concurrency: int, latency: float, rounds: int) -> None:
    console = Console()
    runs: dict[str, list[Run]] = {"bare Celery": [], "ferryman": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded(Path(folder)) as servers,
        vendor(latency) as base_url,
    ):
        for _ in range(rounds):
            runs["bare Celery"].append(
                bare.run(servers.broker, base_url, jobs, processes, concurrency)
            )
            runs["ferryman"].append(
                walk.run(servers.database, servers.broker, base_url, jobs, processes, concurrency)
            )
    console.print(
        f"{jobs} jobs of one {latency * 1000:.0f} ms call; {processes} processes"
        f" x {concurrency} in flight; median of {rounds} interleaved runs"
    )
    console.print(_table(runs))
    (bare_rate, bare_cpu), (rate, cpu) = (_medians(found) for found in runs.values())
    console.print(
        f"ferryman / bare Celery: throughput {rate / bare_rate:.2f}, CPU a job {cpu / bare_cpu:.2f}"
    )


def _medians(runs: list[Run]) -> tuple[float, float]:
    return (
        statistics.median(run.jobs_per_second for run in runs),
        statistics.median(run.cpu_ms_per_job for run in runs),
    )


def _table(runs: dict[str, list[Run]]) -> Table:
    table = Table("", "jobs/s", "CPU ms a job", "memory MiB", "jobs/s of each run")
    for name, found in runs.items():
        rate, cpu = _medians(found)
        memory = statistics.median(run.memory_mib for run in found)
        each = ", ".join(f"{run.jobs_per_second:.0f}" for run in found)
        table.add_row(name, f"{rate:.0f}", f"{cpu:.2f}", f"{memory:.0f}", each)
    return table


if __name__ == "__main__":
    main()
