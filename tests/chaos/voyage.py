"""A sync under way between two ends, through the deaths of its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

import psycopg

from tests.chaos.campaign import highest
from tests.gate import Gate, Hold
from tests.harness import ENDED, Harness, until

# Its own last statement, or any other that needs the batch.
HELD_UP = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND query ILIKE '%batches%'
"""
ON_RECORD = "SELECT key FROM ferryman.objects WHERE job_id = %s AND outcome = 'done'"
ENDS = "SELECT action, outcome, count(*) AS n FROM ferryman.objects WHERE job_id = %s GROUP BY 1, 2"
ATTEMPTS = """
SELECT a.outcome, count(*) AS n FROM ferryman.attempts a JOIN ferryman.jobs j ON j.id = a.job_id
 WHERE j.id = %(id)s OR j.batch_id = %(id)s GROUP BY 1
"""
PARTS = "SELECT part, done + kept AS done FROM ferryman.parts WHERE batch_id = %s"


def tree_of(count: int, random: Random) -> dict[str, bytes]:
    """So many small files by their paths, empty ones and odd names among them."""
    odd = ("ümlaut é", "a+b&c=d", "100%", "(1) {x}")
    return {
        f"{n % 13}/{n % 7}/{odd[n % 40] if n % 40 < len(odd) else 'file'}-{n:05}": random.randbytes(
            random.choice((0, 1, 700, 3000))
        )
        for n in range(count)
    }


class Voyage:
    """One sync. `idle`, `memory`: what a worker has that has just begun, and the most that any ever
    had, in MiB. `on_record`: the keys that were done at each kill."""

    def __init__(self, harness: Harness, vendor: Gate, patience: float, **args: Any) -> None:
        self.harness = harness
        self.vendor = vendor
        self.idle = self.memory = 0.0
        self.on_record: list[set[str]] = []
        self._patience = patience
        self._done: Counter[int] = Counter()
        self.id: UUID = harness.enqueue("sync_objects", args)

    def start(self) -> None:
        """One more worker."""
        self._worker = self.harness.worker()
        self.idle = self.idle or highest(self._worker)

    def look(self) -> dict[str, Any]:
        """The batch: its counts sum up at each look, and what is done stays so."""
        found: dict[str, Any]
        found = self.harness.row("SELECT ferryman.batch(%s) AS batch", (self.id,))["batch"]
        assert sum(found["counts"].values()) == found["total"], found
        done = Counter({row["part"]: row["done"] for row in self._rows(PARTS)})
        assert not self._done - done, (self._done, done)
        self._done = done
        return found

    def kill_planner(self, least: int) -> None:
        """A new worker in the middle of its plan, which has so many objects already."""
        with psycopg.connect(self.harness.database) as holder:
            if least:
                self.start()
                until(lambda: self.look()["total"] >= least, self._patience, what="it plans")
            # Nothing can be added to the batch now.
            query = "SELECT FROM ferryman.batches WHERE id = %s FOR NO KEY UPDATE"
            holder.execute(query, (self.id,))
            if not least:
                self.start()
            self._kill(lambda: self.harness.rows(HELD_UP), "the plan is held")

    def reach(self, hold: Hold) -> None:
        """Something of it is held."""
        until(lambda: self.look() and hold.waiting, self._patience, what="it is held")

    def kill_at(self, *holds: Hold, bytes_done: int = 0) -> None:
        """With something of each on its way, and so much of it on record. What is held is lost."""

        def reached() -> bool:
            found = self.look()
            assert found["status"] == "running", (found, self._job()["error"])
            done = found["objects"]["bytes_done"]
            return all(hold.waiting for hold in holds) and done >= bytes_done

        self._kill(reached, f"each is held: {[hold.match.__name__ for hold in holds]}")
        self.vendor.open()

    def _kill(self, reached: Callable[[], Any], what: str) -> None:
        until(reached, self._patience, what=what)
        self.memory = max(self.memory, highest(self._worker))
        self.harness.kill(self._worker)
        self.on_record.append({row["key"] for row in self._rows(ON_RECORD)})

    def ended(self) -> dict[str, Any]:
        """The job, once it has ended."""
        until(lambda: self.look() and self._job()["status"] in ENDED, self._patience, what="ended")
        self.memory = max(self.memory, highest(self._worker))
        return self._job()

    def ends(self) -> Counter[tuple[str, str]]:
        """How many objects have which action and outcome."""
        return Counter({(row["action"], row["outcome"]): row["n"] for row in self._rows(ENDS)})

    def attempts(self) -> Counter[str]:
        """How the attempts of the sync and of its parts ended."""
        rows = self.harness.rows(ATTEMPTS, {"id": self.id})
        return Counter({row["outcome"]: row["n"] for row in rows})

    def unfinished(self) -> list[dict[str, Any]]:
        return self.harness.rows("SELECT * FROM ferryman.multiparts WHERE status = 'open'")

    def twice(self) -> list[str]:
        """What arrived whole more often than kills account for: each only while nothing was on
        record of it."""
        found = []
        for content, times in self.vendor.whole.items():
            kills = sum(content.key not in known for known in self.on_record)
            if times - 1 > kills:
                found.append(f"{content}: {times} times, {kills} kills before it was on record")
        return found

    def repeated(self) -> int:
        """How many contents arrived whole once more than they had to."""
        return sum(times - 1 for times in self.vendor.whole.values())

    def _job(self) -> dict[str, Any]:
        return self.harness.job(self.id)

    def _rows(self, query: str) -> list[dict[str, Any]]:
        return self.harness.rows(query, (self.id,))
