"""Jobs of many requests, stored in one transaction or read in one statement, each with an answer of
its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Rollback
from sqlalchemy import select

from models.engine import driver_sql
from models.group import Connection, GroupCommit
from models.jobs import SHOWN

Row = dict[str, Any]

ENQUEUE = driver_sql("""
SELECT id, state, problem
  FROM ferryman.enqueue_known(CAST(:jobs AS jsonb), CAST(:charges AS uuid[]))
""")
LOOK = driver_sql(f"{select(*SHOWN)} WHERE jobs.id = ANY(:ids)")
# A statement of its own, since the first one's snapshot is older than the jobs that it stored; but
# one that does not wait for the first one's answer. Without a join: a plan for one that was made
# while the tables were empty would read all of them later.
LOOK_AT_THESE = driver_sql(f"""
{select(*SHOWN)}
 WHERE jobs.id = ANY (ARRAY (
   SELECT coalesce((SELECT k.job_id FROM ferryman.job_keys k
                     WHERE k.kind = g.job ->> 'kind' AND k.key = g.job ->> 'key'),
                   CAST(g.job ->> 'id' AS uuid))
     FROM jsonb_array_elements(CAST(:jobs AS jsonb)) AS g(job)))
""")
# A commit that is under way is waited for so long.
COMMIT_SECONDS = 25.0
# As few go in a group of their own.
FEW = 25
# The SQLSTATE of a lock that was not to be had in time: here, of a key in an open transaction.
BUSY = "55P03"


@dataclass(eq=False)
class Wish:
    """A job to be stored. `job`: JSON of what `ferryman.enqueue_each` takes, with an id of its own,
    so that it may be stored again after a lost connection. `charge`: the id of the charge that it
    goes by, which must be known. `patience`: how long its client waits."""

    job: str
    patience: asyncio.Timeout
    charge: UUID | None = None

    @property
    def late(self) -> bool:
        """Whether its client was told that it failed, or will be at once."""
        until = self.patience.when()
        return until is not None and until <= asyncio.get_running_loop().time()

    def commit(self) -> None:
        """From here on it cannot be taken back: its client waits a while longer."""
        with suppress(RuntimeError):  # whose client has gone, but not for being late
            self.patience.reschedule(asyncio.get_running_loop().time() + COMMIT_SECONDS)


@dataclass(frozen=True)
class Stored:
    """The job as its client sees it; none where it is stored no more. With a `state`, nothing is
    stored: an SQLSTATE, and the words of what is wrong."""

    job: Row | None = None
    state: str | None = None
    problem: str = ""


TOO_LATE = Stored(state="57014", problem="job: nobody waits for it any more")


class Groups(GroupCommit[Wish, Stored]):
    """Half of what waits goes at a time. All at once, clients that ask again upon their answers
    keep step: nothing was read while they were stored, and nothing was stored while they were read,
    which took half as long again."""

    def _fitting(self) -> int:
        return min(super()._fitting(), max(FEW, len(self._waiting) // 2))


def size_of(wish: Wish) -> int:
    """About how many bytes the job takes in a statement."""
    return len(wish.job)


async def store(connection: Connection, wishes: Sequence[Wish]) -> list[Stored]:
    """Store what can be stored, in a group commit. What nobody waits for is left out up to the
    commit: who was told that it failed must not find it stored."""
    while timely := [wish for wish in wishes if not wish.late]:
        # Two journeys to the server: that of the statements, and that of the commit.
        async with connection.pipeline(), connection.transaction() as trial:
            stored = await _stored(connection, timely)
            if any(wish.late for wish in timely):
                raise Rollback(trial)
            for wish in timely:
                wish.commit()
            answers = {id(wish): answer for wish, answer in zip(timely, stored, strict=True)}
            return [answers.get(id(wish), TOO_LATE) for wish in wishes]
    return [TOO_LATE for _ in wishes]


async def look(connection: Connection, ids: Sequence[UUID]) -> list[Row | None]:
    """Each job as its client sees it, for many who ask at once; none where there is no such job."""
    rows = await (await connection.execute(LOOK, {"ids": list(ids)})).fetchall()
    found = {row["id"]: row for row in rows}
    return [found.get(one) for one in ids]


async def _stored(connection: Connection, wishes: Sequence[Wish]) -> list[Stored]:
    given = {
        "jobs": f"[{','.join(wish.job for wish in wishes)}]",
        "charges": [wish.charge for wish in wishes],
    }
    answers = await connection.execute(ENQUEUE, given)
    shown = await connection.execute(LOOK_AT_THESE, given)
    found, rows = await answers.fetchall(), await shown.fetchall()
    jobs = {row["id"]: row for row in rows}
    return [Stored(jobs.get(row["id"]), row["state"], row["problem"] or "") for row in found]
