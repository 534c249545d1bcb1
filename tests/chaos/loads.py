"""Loads on their way to a vendor, and the workers that are killed with them."""

from __future__ import annotations

from typing import Any

from ferryman.policies import policy
from models.loads import APART
from tests.chaos.people import wrong_worker
from tests.harness import Harness, until

# Who has most requests on their way.
SENDING = """
SELECT w.name FROM ferryman.jobs j
  JOIN ferryman.sends s ON s.job_id = j.id AND s.answered_at IS NULL
  JOIN ferryman.workers w ON w.id = j.worker_id
 WHERE j.kind LIKE '%%\\_load' AND j.status = 'running' AND w.name = ANY(%s)
 GROUP BY w.name ORDER BY count(*) DESC LIMIT 1
"""
DONE = "SELECT count(*) AS n FROM ferryman.jobs WHERE kind = %s AND status = 'succeeded'"
OPEN = """
SELECT (SELECT count(*) FROM ferryman.loads WHERE ended_at IS NULL) AS loads,
       (SELECT count(*) FROM ferryman.jobs WHERE status IN ('waiting', 'running')) AS jobs
"""
# Loads that came through at once, without anybody who was in a killed one: those go apart.
UNDISTURBED = """
SELECT count(*) AS n FROM ferryman.loads l JOIN ferryman.jobs j ON j.id = l.job_id
 WHERE j.status = 'succeeded' AND l.requests = 1
   AND NOT EXISTS (SELECT FROM ferryman.attempts a
                    WHERE a.job_id = ANY(l.riders) AND a.outcome = 'lease_lost')
"""


class Convoy:
    """Workers side by side: whoever is killed, the next one is there already."""

    def __init__(self, harness: Harness, workers: int, **env: str) -> None:
        self.harness = harness
        self.workers = [wrong_worker(harness, wait=False, **env) for _ in range(workers)]
        self.kills = 0

    def kill_one(self, kind: str, least: int, seconds: float) -> None:
        """With requests on their way, once so many jobs of a kind have succeeded."""
        until(lambda: self.done(kind) >= least, seconds, what=f"{least} have succeeded")
        pid = until(self._sender, seconds, what="a request is on its way")
        (process,) = (one for one in self.workers if one.pid == pid)
        self.harness.kill(process)
        self.kills += 1

    def done(self, kind: str) -> int:
        count: int = self.harness.row(DONE, (kind,))["n"]
        return count

    def _sender(self) -> int | None:
        alive = {one.pid for one in self.workers if one.poll() is None}
        names = self.harness.rows("SELECT name FROM ferryman.workers")
        ours = [one["name"] for one in names if _pid(one) in alive]
        rows = self.harness.rows(SENDING, (ours,))
        return _pid(rows[0]) if rows else None

    def arrive(self, seconds: float) -> None:
        """Wait until nothing is left to do, and no load is open."""
        nothing = {"loads": 0, "jobs": 0}
        until(lambda: self.harness.row(OPEN) == nothing, seconds, what="all have arrived")

    @staticmethod
    def of_a_kill(vendor: str) -> int:
        """How many more requests it may bring: each load that was under way goes again, in eighths
        and what is left of them."""
        return policy(vendor).loads_in_flight * (APART + 2)

    def undisturbed(self) -> int:
        count: int = self.harness.row(UNDISTURBED)["n"]
        return count


def _pid(row: dict[str, Any]) -> int:
    return int(row["name"].rpartition(":")[2])
