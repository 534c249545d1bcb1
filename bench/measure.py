"""How a run is measured: wall time from the first enqueue to the last end, CPU and memory of the
worker processes as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Run:
    """One run's figures."""

    jobs_per_second: float
    cpu_ms_per_job: float
    memory_mib: float


def measured(
    workers: Sequence[subprocess.Popen[bytes]],
    jobs: int,
    enqueue: Callable[[], None],
    done: Callable[[], int],
) -> Run:
    """Enqueue, wait for the end of all, and tell what it took."""
    before = sum(_cpu_seconds(worker.pid) for worker in workers)
    started = time.monotonic()
    enqueue()
    while done() < jobs:
        if any(worker.poll() is not None for worker in workers):
            raise RuntimeError("a worker ended during the run")
        time.sleep(0.02)
    seconds = time.monotonic() - started
    cpu = sum(_cpu_seconds(worker.pid) for worker in workers) - before
    memory = sum(_memory_mib(worker.pid) for worker in workers)
    return Run(jobs / seconds, cpu * 1000 / jobs, memory)


@contextlib.contextmanager
def started(
    command: Sequence[str], env: dict[str, str], processes: int, ready: Callable[[int], bool]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes that consume already; stopped at the end."""
    workers = [
        subprocess.Popen(
            [sys.executable, *command],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **env,
                "BENCH_NUMBER": str(number),
                "FERRYMAN_READY_FILE": env.get("READY", "") + str(number),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(processes)
    ]
    try:
        until(lambda: all(ready(number) for number in range(processes)))
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(timeout=60)


@contextlib.contextmanager
def vendor(latency: float) -> Iterator[str]:
    """The fake vendor, in a process of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.vendor:app",
            "--port",
            str(port),
            "--log-level",
            "error",
            "--loop",
            "uvloop",
            "--http",
            "httptools",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "BENCH_LATENCY": str(latency)},
    )
    base_url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(base_url))
        yield base_url
    finally:
        process.terminate()
        process.wait()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the benchmark's processes did not get ready")
        time.sleep(0.05)


def _answers(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/served").status_code == 200
    except httpx.TransportError:
        return False


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
