"""A batch of mails on its way from a CSV to the vendor, and the single mails beside it."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from ferryman._door import database
from tests.chaos.lists import Line
from tests.chaos.people import mail, wrong_worker
from tests.harness import Harness, until

BESIDE_SECONDS = 0.1
# Who has most requests at the vendor.
SENDING = """
SELECT w.name FROM ferryman.jobs j
  JOIN ferryman.sends s ON s.job_id = j.id AND s.answered_at IS NULL
       AND s.sent_at < clock_timestamp() - interval '150 ms'
  JOIN ferryman.workers w ON w.id = j.worker_id
 WHERE j.kind = 'bulk_email_part' AND j.status = 'running'
 GROUP BY w.name ORDER BY count(*) DESC LIMIT 1
"""
PLANNING = """
SELECT w.name FROM ferryman.jobs j JOIN ferryman.workers w ON w.id = j.worker_id
 WHERE j.kind = 'bulk_email' AND j.status = 'running'
"""
# Its last step: all mails are copied by then, and none is committed.
HELD_UP = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND query LIKE '%planned_at IS NULL%FOR UPDATE OF b%'
"""
STARTS = """
SELECT j.created_at, a.started_at FROM ferryman.jobs j
  JOIN ferryman.attempts a ON a.job_id = j.id AND a.number = 1 WHERE j.id = ANY(%s)
"""
DELIVERED = """
SELECT count(*) AS n FROM ferryman.emails WHERE job_id = ANY(%s) AND delivery = 'delivered'
"""
ENDS = """
SELECT status, delivery, count(*) AS n FROM ferryman.emails GROUP BY status, delivery
"""
# One that no worker took with it when it died has no reason to be in doubt.
IN_DOUBT_FOR_NOTHING = """
SELECT id FROM ferryman.jobs j WHERE status = 'unknown'
   AND NOT EXISTS (SELECT FROM ferryman.attempts a
                    WHERE a.job_id = j.id AND a.outcome = 'lease_lost')
"""
SETTLED = """
SELECT job_id FROM ferryman.interventions WHERE action = 'settle' AND who LIKE 'sendgrid, event %'
"""


class Campaign:
    """`beside`: whether single mails are enqueued while the batch is looked at. `idle`,
    `memory`: what a worker has that has just begun, and the most that any ever had, in MiB. `env`:
    of the workers."""

    def __init__(self, harness: Harness, path: Path, stopped: list[str], **env: str) -> None:
        self.harness = harness
        self.env = env
        self.singles: list[UUID] = []
        self.kills: list[datetime] = []
        self.beside = False
        self.idle = self.memory = 0.0
        self._next = 0.0
        harness.connection.cursor().executemany(
            "INSERT INTO ferryman.suppressions (channel, address, reason, source)"
            " VALUES ('email', %s, 'manual', 'test')",
            [(address,) for address in stopped],
        )
        with path.open("rb") as file:
            upload = database(harness.database).upload(file, "csv")["id"]
        args = {"template": "d-news", "upload": upload}
        self.id = harness.enqueue("bulk_email", args)

    def look(self) -> dict[str, Any]:
        """The batch, whose counts sum up at each look."""
        found: dict[str, Any]
        found = self.harness.row("SELECT ferryman.batch(%s) AS batch", (self.id,))["batch"]
        assert sum(found["counts"].values()) == found["total"], found
        if self.beside and time.monotonic() >= self._next:
            self._next = time.monotonic() + BESIDE_SECONDS
            self.singles.append(mail(self.harness, len(self.singles), to=self._single()))
        return found

    def _single(self) -> str:
        return f"single{len(self.singles)}@example.com"

    def start(self, *, wait: bool = True) -> None:
        """One more worker."""
        process = wrong_worker(self.harness, wait=wait, **self.env)
        if wait:
            self.idle = self.idle or highest(process)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no plan comes to its end."""
        with psycopg.connect(self.harness.database) as holder:
            query = "SELECT FROM ferryman.batches WHERE id = %s FOR NO KEY UPDATE"
            holder.execute(query, (self.id,))
            yield

    def kill_planner(self, seconds: float) -> None:
        """With all recipients copied. Is `held`."""
        until(lambda: self.harness.rows(HELD_UP), seconds, what="all are copied")
        self._kill(self.harness.row(PLANNING)["name"])
        assert self.look()["planned_at"] is None

    def kill_sender(self, least: int, seconds: float) -> None:
        """As soon as so many mails are sent, and requests of a worker are on their way."""

        def sender() -> str | None:
            found, rows = self.look(), self.harness.rows(SENDING)
            assert found["status"] == "running", found
            return rows[0]["name"] if rows and found["counts"]["sent"] >= least else None

        self._kill(until(sender, seconds, what=f"{least} are sent, and more on their way"))

    def _kill(self, name: str) -> None:
        pid = int(name.rpartition(":")[2])
        (process,) = (one for one in self.harness.processes if one.pid == pid)
        self.memory = max(self.memory, highest(process))
        self.kills.append(self.harness.row("SELECT clock_timestamp() AS at")["at"])
        self.harness.kill(process)

    def done(self, seconds: float) -> dict[str, Any]:
        """The batch, once its mails are sent or in doubt, those beside it are, and what the vendor
        tells of them is heard."""
        until(lambda: self.look()["status"] == "done", seconds, what="the batch is done")
        self.beside = False
        self.harness.all_ended(self.singles, 90)
        taken = self.tally()["addresses"]
        until(lambda: self.delivered() >= taken, seconds, what="all events are heard")
        for process in self.harness.processes:
            if process.poll() is None and "api" not in process.args:
                self.memory = max(self.memory, highest(process))
        return self.look()

    def delivered(self) -> int:
        singles: int = self.harness.row(DELIVERED, (self.singles,))["n"]
        batch: int = self.look()["delivery"]["delivered"]
        return batch + singles

    def tally(self) -> dict[str, int]:
        return self.harness.sandbox.tally("sendgrid", "mail")

    def reached(self) -> Counter[str]:
        """How many mails each address got."""
        return Counter(effect["to"].lower() for effect in self.harness.sandbox.effects())

    def sent_to(self) -> Counter[str]:
        """How many each was sent, says the ledger."""
        query = "SELECT lower(recipient) AS address FROM ferryman.emails WHERE status = 'sent'"
        return Counter(row["address"] for row in self.harness.rows(query))

    def ends(self) -> Counter[tuple[str, str | None]]:
        """How many mails have which status and delivery, those beside the batch among them."""
        rows = self.harness.rows(ENDS)
        return Counter({(row["status"], row["delivery"]): row["n"] for row in rows})

    def lines(self) -> Iterator[tuple[int, Line]]:
        """What the ledger says of each line of the list."""
        query = "SELECT place, lower(recipient), status FROM ferryman.emails WHERE batch_id = %s"
        with (
            self.harness.connection.transaction(),
            self.harness.connection.cursor("lines", row_factory=tuple_row) as cursor,
        ):
            cursor.itersize = 10_000
            for place, to, status in cursor.execute(query, (self.id,)):
                yield place, (to, status)

    def starts(self, lease: float) -> list[float]:
        """Seconds from the enqueue of a single mail to its start, in order; without those that were
        enqueued within a lease of a kill: of a dead worker's hands nobody knows sooner."""
        rows = self.harness.rows(STARTS, (self.singles,))
        return sorted(
            (row["started_at"] - row["created_at"]).total_seconds()
            for row in rows
            if all(abs((row["created_at"] - at).total_seconds()) > lease for at in self.kills)
        )


def highest(process: subprocess.Popen[bytes]) -> float:
    """The most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
