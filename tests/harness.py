"""Starts and kills ferryman's processes, and looks into the ledger."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
import psycopg
import redis
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from ferryman.testing import Sandbox

ROOT = Path(__file__).resolve().parent.parent
ENDED = ("succeeded", "failed", "unknown", "cancelled")
# Made by joining, so that no key-shaped string stands in the tree.
STRIPE_KEY = "_".join(("sk", "test", "ferryman"))
SENDGRID_KEY = ".".join(("SG", "ferryman", "tests"))


def until(condition: Callable[[], Any], seconds: float = 20.0, *, what: str = "") -> Any:
    """Wait for a condition to become true; returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Harness:
    """One ledger, one broker, one sandbox, and the processes of a test."""

    def __init__(self, database: str, broker: str, sandbox: Sandbox, folder: Path) -> None:
        self.database = database
        self.broker = broker
        self.sandbox = sandbox
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("FERRYMAN_")},
            "PYTHONPATH": str(ROOT),
            "FERRYMAN_DATABASE_URL": database,
            "FERRYMAN_BROKER_URL": broker,
            "FERRYMAN_HOME": str(folder / "home"),
            "FERRYMAN_LEASE_SECONDS": "2",
            "FERRYMAN_BACKOFF_SECONDS": "0.2",
            "FERRYMAN_LOOK_UP_SECONDS": "1",
            "FERRYMAN_CONCURRENCY": "50",
            "FERRYMAN_GRACE_SECONDS": "5",
            "FERRYMAN_RATE_PER_SECOND": "0",
            "FERRYMAN_POLL_SECONDS": "0",
            "STRIPE_BASE_URL": f"{sandbox.url}/stripe",
            "STRIPE_SECRET_KEY": STRIPE_KEY,
            "SENDGRID_BASE_URL": f"{sandbox.url}/sendgrid",
            "SENDGRID_API_KEY": SENDGRID_KEY,
            "FROM_EMAIL": "sender@example.com",
        }

    def __enter__(self) -> Self:
        self.connection = psycopg.connect(self.database, autocommit=True, row_factory=dict_row)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.connection.close()
        if error is not None:
            print(self.logs()[-8000:])

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """A process of ferryman in the foreground, its output in a file of the test's folder."""
        log = self.folder / f"{len(self.processes)}-{command[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**self.env, **env},
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def worker(self, **env: str) -> subprocess.Popen[bytes]:
        """A worker that consumes already."""
        ready = self.folder / f"ready-{len(self.processes)}"
        process = self.start("worker", FERRYMAN_READY_FILE=str(ready), **env)
        until(lambda: ready.exists() or process.poll() is not None, what="the worker is ready")
        assert process.poll() is None, self.logs()
        return process

    def api(self, token: str = "", port: int | None = None, **env: str) -> str:
        """An API that answers already; its address."""
        port = port or free_port()
        process = self.start("api", "--port", str(port), FERRYMAN_API_TOKEN=token, **env)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, self.logs()
            try:
                return httpx.get(f"{url}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, what="the API answers")
        return url

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """SIGTERM; returns the exit status."""
        process.terminate()
        return process.wait(timeout=30)

    def enqueue(self, kind: str, args: dict[str, Any], **options: Any) -> UUID:
        """By the SQL door, which checks nothing of the arguments."""
        names = "".join(f", {name} => %({name})s" for name in options)
        row = self.row(
            f"SELECT ferryman.enqueue(%(kind)s, %(args)s{names}) AS id",
            {"kind": kind, "args": Jsonb(args), **options},
        )
        return UUID(str(row["id"]))

    def charge(self, n: int = 0, **changes: Any) -> UUID:
        args = {
            "customer": f"user-{n}",
            "amount": 1000 + n,
            "currency": "usd",
            "payment_method": "pm_card_visa",
        }
        return self.enqueue("charge", {**args, **changes})

    def rows(self, query: str, values: Any = None) -> list[dict[str, Any]]:
        return self.connection.execute(query, values).fetchall()

    def row(self, query: str, values: Any = None) -> dict[str, Any]:
        (row,) = self.rows(query, values)
        return row

    def job(self, job_id: UUID) -> dict[str, Any]:
        return self.row("SELECT * FROM ferryman.jobs WHERE id = %s", (job_id,))

    def ended(self, job_id: UUID, seconds: float = 20.0) -> dict[str, Any]:
        """The job, once it has ended."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in ENDED else None

        found: dict[str, Any] = until(look, seconds, what=f"job {job_id} has ended")
        return found

    def all_ended(self, jobs: Sequence[UUID], seconds: float = 30.0) -> dict[str, int]:
        """How many jobs ended in which status, once all have."""
        query = "SELECT status, count(*) AS n FROM ferryman.jobs WHERE id = ANY(%s) GROUP BY status"

        def look() -> dict[str, int] | None:
            counts = {row["status"]: row["n"] for row in self.rows(query, (list(jobs),))}
            return counts if set(counts) <= set(ENDED) else None

        found: dict[str, int] = until(look, seconds, what="all jobs have ended")
        return found

    def attempts(self, job_id: UUID) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM ferryman.attempts WHERE job_id = %s ORDER BY number", (job_id,)
        )

    def logs(self) -> str:
        return "".join(
            path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))
        )

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.broker)


@contextlib.contextmanager
def suspended(process: subprocess.Popen[bytes]) -> Any:
    """The process, stopped by SIGSTOP for as long as the block lasts."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
