"""Folders, and who brings them into a bucket: each as its users start it, and what that takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.measure import ROOT, TICKS, spawn, until
from bench.place import Place
from bench.walk import new_ledger, workers

AT_ONCE = 16
# Of ferryman's: a part has 500 objects, so that four of them have 16 at once.
IN_A_PART = 4
# Nothing checks them.
KEYS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PREFIX = "exports"
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Run:
    """Seconds of one sync from the start of its command to its end; CPU seconds and the highest
    memory in MiB of all its processes; CPU seconds of PostgreSQL meanwhile, where there is one."""

    seconds: float
    cpu: float
    memory: float
    ledger: float | None = None


def median(runs: Sequence[Run]) -> Run:
    """Each figure's median."""
    ledgers = [run.ledger for run in runs if run.ledger is not None]
    return Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu for run in runs),
        statistics.median(run.memory for run in runs),
        statistics.median(ledgers) if ledgers else None,
    )


def write_tree(folder: Path, count: int, size: int) -> None:
    """So many files of random bytes, a hundred to a folder."""
    for n in range(count):
        path = folder / f"{n // 100:04}" / f"{n:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def tool(name: str) -> str | None:
    """A program of the virtual environment, or of this machine; None: it is not installed."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def command(argv: Sequence[str], env: Mapping[str, str]) -> Run:
    """One run of a program. Raises RuntimeError where it fails."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, env={**os.environ, **KEYS, **env}, stdout=subprocess.DEVNULL, stderr=said
        )
        with _highest_of(process.pid) as highest:
            _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{argv[0]}: {said.read().decode()[-2000:]}")
    return Run(seconds, used.ru_utime + used.ru_stime, max(highest))


@contextlib.contextmanager
def _highest_of(pid: int) -> Iterator[list[float]]:
    """What the kernel tells at the end of a process counts the memory of whoever started it."""
    found, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            found.append(_highest_mib(Path(f"/proc/{pid}")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


PROGRAM = str(tool("ferryman"))


class Ferryman:
    """One worker and its ledger, which run already; `ferryman sync` waits for the end of the job
    that it enqueues. CPU and memory are those of both."""

    def __init__(self, ledger: psycopg.Connection[Any], env: Mapping[str, str], pid: int) -> None:
        self._env = env
        self._worker = Path(f"/proc/{pid}")
        row = ledger.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        self._postgres = _parent(row[0])

    def run(self, folder: Path, bucket: str, *options: str) -> Run:
        # From now on the highest is that of this run.
        (self._worker / "clear_refs").write_text("5")
        cpu, ledger = _ticks(self._worker), self._ledger_ticks()
        asked = [f"s3://{bucket}/{PREFIX}", "--concurrency", str(IN_A_PART), "--json", *options]
        made = command([PROGRAM, "sync", str(folder), *asked], self._env)
        return Run(
            made.seconds,
            made.cpu + (_ticks(self._worker) - cpu) / TICKS,
            made.memory + _highest_mib(self._worker),
            (self._ledger_ticks() - ledger) / TICKS,
        )

    def _ledger_ticks(self) -> int:
        """Of the server, of its processes, and of those that have ended."""
        living = (path for path in Path("/proc").glob("[0-9]*") if _parent(path) == self._postgres)
        server = Path(f"/proc/{self._postgres}")
        return _ticks(server, ended=True) + sum(map(_ticks, living))


@contextlib.contextmanager
def ferryman(place: Place, url: str) -> Iterator[Ferryman]:
    """With a worker that consumes already, on an empty ledger."""
    database = new_ledger(place, "sync")
    with (
        psycopg.connect(database, autocommit=True) as ledger,
        workers(place, database, url, 1, 200, vendor="s3") as (worker,),
    ):
        env = {
            "PYTHONPATH": str(ROOT),
            "FERRYMAN_DATABASE_URL": database,
            "FERRYMAN_BROKER_URL": place.broker,
        }
        yield Ferryman(ledger, env, worker.pid)


@contextlib.contextmanager
def server(module: str) -> Iterator[str]:
    """A server of a process of its own, told its port as the last word; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = spawn(["-m", module, str(port)], {})
    try:
        until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ticks(process: Path, *, ended: bool = False) -> int:
    """CPU of a process; `ended`: and of its children that are no more."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11 : 15 if ended else 13]))


def _parent(process: Path | int) -> int:
    try:
        return int(Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _highest_mib(process: Path) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0
