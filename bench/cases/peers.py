"""The same durable job beside taskiq, dramatiq and procrastinate (where they are installed)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from bench import walk
from bench.contest import console, interleaved, report
from bench.measure import Run
from bench.peers import on_dramatiq, on_procrastinate, on_taskiq
from bench.place import Place
from bench.vendor import vendor

JOBS = 3000
LATENCY = 0.05
PROCESSES = 2
CONCURRENCY = 50


class Peer(Protocol):
    """A module of `bench.peers`."""

    PACKAGES: tuple[str, ...]

    def run(
        self, place: Place, base_url: str, jobs: int, processes: int, concurrency: int
    ) -> Run: ...


PEERS: dict[str, Peer] = {
    "taskiq + own ledger": on_taskiq,
    "dramatiq + own ledger": on_dramatiq,
    "procrastinate, its tables": on_procrastinate,
}


def main(place: Place) -> None:
    jobs = place.jobs(JOBS)
    with vendor(LATENCY) as url:

        def contestant(run: Callable[[Place, str, int, int, int], Run]) -> Callable[[], Run]:
            return lambda: run(place, url, jobs, PROCESSES, CONCURRENCY)

        contestants = {"ferryman": contestant(walk.run)}
        contestants |= {name: contestant(peer.run) for name, peer in _installed().items()}
        runs = interleaved(contestants, place.rounds)
    report(
        f"{jobs} jobs of one {LATENCY * 1000:.0f} ms call, claimed, recorded and closed in"
        f" PostgreSQL; {PROCESSES} processes x {CONCURRENCY} in flight",
        runs,
    )


def _installed() -> dict[str, Peer]:
    found = {}
    for name, peer in PEERS.items():
        if missing := [package for package in peer.PACKAGES if find_spec(package) is None]:
            console.print(f"{name}: skipped, {', '.join(missing)} not installed (group `bench`)")
        else:
            found[name] = peer
    return found
