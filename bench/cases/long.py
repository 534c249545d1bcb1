"""The same at 1 s a call with 2,000 jobs waiting, each at its best concurrency in 600 MiB."""

from __future__ import annotations

from collections.abc import Callable

from bench import bare, walk
from bench.contest import console, interleaved, report
from bench.measure import Run
from bench.place import Place
from bench.vendor import vendor

JOBS = 2000
LATENCY = 1.0
PROCESSES = 2
MOST_MIB = 600
CHOICES = (200, 400, 800)

Contestant = Callable[[int], Run]


def main(place: Place) -> None:
    jobs = place.jobs(JOBS)
    with vendor(LATENCY) as url:

        def threads(concurrency: int) -> Run:
            return bare.run(place, url, jobs, PROCESSES, concurrency)

        def calls(concurrency: int) -> Run:
            return walk.run(place, url, jobs, PROCESSES, concurrency, window=jobs)

        bare_best = _best("bare Celery", threads)
        our_best = _best("ferryman", calls)
        runs = interleaved(
            {"bare Celery": lambda: threads(bare_best), "ferryman": lambda: calls(our_best)},
            place.rounds,
        )
    report(
        f"{jobs} jobs of one {LATENCY:.0f} s call; {PROCESSES} processes; in flight in each:"
        f" bare Celery {bare_best}, ferryman {our_best}; at most {MOST_MIB} MiB together",
        runs,
    )


def _best(name: str, run: Contestant) -> int:
    """The fastest of the concurrencies that keep within the memory."""
    found = {concurrency: run(concurrency) for concurrency in CHOICES}
    for concurrency, one in found.items():
        console.print(
            f"{name}, {concurrency} in flight a process: {one.jobs_per_second:.0f} jobs/s,"
            f" {one.memory_mib:.0f} MiB"
        )
    fitting = {c: one for c, one in found.items() if one.memory_mib <= MOST_MIB}
    return max(fitting, key=lambda concurrency: fitting[concurrency].jobs_per_second)
