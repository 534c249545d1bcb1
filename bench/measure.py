"""How a run is measured: wall time from the first enqueue to the last end, CPU and memory of the
worker processes as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LOOK_SECONDS = 0.05
WARM = 200

Workers = Sequence[subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Run:
    """One run's figures; CPU and memory are those of all worker processes together."""

    jobs_per_second: float
    cpu_ms_per_job: float
    memory_mib: float


def median(runs: Sequence[Run]) -> Run:
    """Each figure's median."""
    return Run(
        statistics.median(run.jobs_per_second for run in runs),
        statistics.median(run.cpu_ms_per_job for run in runs),
        statistics.median(run.memory_mib for run in runs),
    )


def measured(
    workers: Workers, jobs: int, enqueue: Callable[[int], object], done: Callable[[], int]
) -> Run:
    """Enqueue, wait until `done` tells that many more, and tell what it took. Some jobs go before,
    so that modules are imported and connections open, everybody's alike."""
    before = done()
    enqueue(WARM)
    reach(workers, done, before + WARM)
    cpu, began = _cpu_seconds(workers), time.monotonic()
    enqueue(jobs)
    reach(workers, done, before + WARM + jobs)
    seconds = time.monotonic() - began
    spent = _cpu_seconds(workers) - cpu
    return Run(jobs / seconds, spent * 1000 / jobs, _memory_mib(workers))


def reach(workers: Workers, done: Callable[[], int], count: int) -> None:
    """Wait until so many are done. Raises RuntimeError when a worker ends."""
    while done() < count:
        if any(worker.poll() is not None for worker in workers):
            raise RuntimeError("a worker ended during the run")
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def started(
    command: Sequence[str], env: Mapping[str, str], processes: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes that consume already, each having made its ready file; stopped at the
    end."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(processes)]
        workers = [spawn(command, {**env, "FERRYMAN_READY_FILE": str(path)}) for path in paths]
        try:
            until(lambda: all(path.exists() for path in paths))
            yield workers
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(timeout=60)


def spawn(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A Python process of this checkout, silent."""
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_SHOW") else subprocess.DEVNULL,
    )


def ready() -> None:
    """Said by a worker process that consumes."""
    if path := os.environ.get("FERRYMAN_READY_FILE"):
        Path(path).touch()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the benchmark's processes did not get ready")
        time.sleep(0.05)


def _cpu_seconds(workers: Workers) -> float:
    return sum(_ticks(worker.pid) for worker in workers) / TICKS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _memory_mib(workers: Workers) -> float:
    pages = (int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) for worker in workers)
    return sum(pages) * PAGE / 2**20
