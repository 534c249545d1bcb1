"""When a load goes: enough of its riders are due, or the first has waited long enough for company.
For the relay's thread: plain psycopg.

A load is made empty, and filled when it runs: so its riders hold on to nothing while it waits, and
what it can carry is known by their bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from models.engine import dumps
from models.tables import RIDE

# Their loads go one after the other: of two jobs that change the same person the later one must be
# the last.
IN_ORDER = ("identify_user", "upsert_contact")

Row = dict[str, Any]

# `idle`: loads that have not taken their riders yet. No more riders are looked at than the loads
# that may go could take, and one. Suspects, who crashed a worker, go apart and are counted apart.
# `heads`: the priority of each load's first rider; `best` that of all.
DUE = f"""
WITH lanes AS (
  SELECT v.*, o.* FROM jsonb_to_recordset(%(lanes)s::jsonb)
      AS v(vendor text, kind text, size int, most int)
   CROSS JOIN LATERAL (
     SELECT count(*)::int AS open,
            count(*) FILTER (WHERE NOT EXISTS (
              SELECT FROM ferryman.loads l WHERE l.job_id = j.id))::int AS idle
       FROM (SELECT id, kind FROM ferryman.jobs
              WHERE vendor = v.vendor AND status = 'waiting' AND published_at IS NULL
                AND NOT ({RIDE})
              UNION ALL
             SELECT id, kind FROM ferryman.jobs
              WHERE vendor = v.vendor AND status = 'waiting' AND published_at IS NOT NULL
              UNION ALL
             SELECT id, kind FROM ferryman.jobs
              WHERE vendor = v.vendor AND status = 'running' AND worker_id IS NOT NULL) AS j
      WHERE j.kind = v.kind || '_load') AS o
)
SELECT v.vendor, v.kind, v.size, v.most, v.open, v.idle, d.*
  FROM lanes v CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE suspect)::int AS suspects,
           count(*) FILTER (WHERE NOT suspect)::int AS ready,
           array_agg(priority::text ORDER BY nth)
             FILTER (WHERE NOT suspect AND (nth - 1) %% v.size = 0) AS heads,
           min(priority)::text AS best,
           bool_or(in_rest AND priority = 'high') AS urgent,
           extract(epoch FROM now() - min(run_at) FILTER (WHERE in_rest))::float8 AS waited
      FROM (SELECT n.*, NOT suspect AND nth > ready / v.size * v.size AS in_rest
              FROM (SELECT f.*, count(*) OVER (PARTITION BY suspect) AS ready,
                           row_number() OVER (PARTITION BY suspect
                                              ORDER BY priority, run_at) AS nth
                      FROM (SELECT p.priority, j.run_at, j.crashes > 0 AS suspect
                              FROM unnest(enum_range(NULL::ferryman.priority)) AS p(priority)
                             CROSS JOIN LATERAL (
                               SELECT run_at, crashes FROM ferryman.jobs
                                WHERE vendor = v.vendor AND kind = v.kind AND {RIDE}
                                  AND priority = p.priority AND status = 'waiting'
                                  AND run_at <= now()
                                ORDER BY run_at
                                LIMIT (v.idle + greatest(0, v.most - v.open)) * v.size + 1) AS j
                           ) AS f) AS n) AS r) AS d
 WHERE d.ready + d.suspects > 0
"""

# It waits as long as it takes: its riders have a longest wait, and it has none.
ADD = """
INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, due_at)
SELECT ferryman.uuid7(), r.kind || '_load', r.vendor, '{}', r.priority, '9000-01-01'
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(kind text, vendor text, priority ferryman.priority)
"""


@dataclass(frozen=True)
class Lane:
    """One vendor and kind whose jobs ride. `size`: records in one request; `most`: loads under way
    at once; `linger_seconds`: so long the first one waits for company."""

    vendor: str
    kind: str
    size: int
    most: int
    linger_seconds: float


def gather(connection: psycopg.Connection[Any], lanes: Sequence[Lane]) -> bool:
    """Make the load jobs that what is due in these lanes needs now, still to be published. Returns
    whether some of it was kept back, for a load to end or for company."""
    if not lanes:
        return False
    lingers = {(lane.vendor, lane.kind): lane.linger_seconds for lane in lanes}
    made: list[Row] = []
    kept_back = False
    for row in connection.execute(DUE, {"lanes": dumps(lanes)}).fetchall():
        needed = _needed(row, lingers[row["vendor"], row["kind"]])
        count = max(0, min(needed, row["most"] - row["open"]))
        heads = (row["heads"] or [])[row["idle"] :][:count]
        named = {"vendor": row["vendor"], "kind": row["kind"]}
        made += [{**named, "priority": one} for one in heads or [row["best"]][:count]]
        in_all = -(-row["ready"] // row["size"]) + (row["suspects"] > 0)
        kept_back |= in_all > row["idle"] + count
    if made:
        connection.execute(ADD, {"rows": dumps(made)})
    return kept_back


def _needed(row: Row, linger_seconds: float) -> int:
    """How many loads should go now, beside those that have yet to take their riders. Suspects go
    one load at a time: when nothing else does, or with the next load there is."""
    full, rest = divmod(row["ready"], row["size"])
    company = rest and not row["urgent"] and row["waited"] < linger_seconds
    needed = full + bool(rest and not company) - row["idle"]
    return max(needed, 1) if row["suspects"] and not row["open"] else int(needed)
