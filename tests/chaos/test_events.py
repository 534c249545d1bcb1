"""Events through three kills and a vendor's bad day: at the vendor each good one exactly once by
its id, each bad one failed with its field and the reason, in few requests.

Two thousand in every run, in requests of a hundred; a hundred thousand, in those of two thousand,
by `make chaos`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

from tests.chaos.account import Account
from tests.chaos.conftest import SOAK, Scale, Tabled
from tests.chaos.loads import Convoy
from tests.harness import Harness

KILLS = 3
SIZE = 2000 if SOAK else 100
# How long each step may take.
PATIENCE = 300.0 if SOAK else 40.0
SETTINGS = {"FERRYMAN_LEASE_SECONDS": "1", "FERRYMAN_BACKOFF_SECONDS": "0.1"}
# Of each two thousand one that is refused here, and one by the vendor alone.
EVENTS = """
SELECT ferryman.enqueue('track_event', jsonb_build_object(
         'user', CASE WHEN n %% 2000 = 0 THEN 'anonymous' ELSE 'user-' || n %% 700 END,
         'event', 'Order placed',
         'properties', CASE WHEN n %% 2000 = 1000 THEN '{"a": {"b": {"c": {"d": 1}}}}'::jsonb
                            ELSE jsonb_build_object('n', n, 'shop', 'Delft') END)) AS id
  FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""
WEATHER: list[dict[str, Any]] = [
    {"do": "latency", "seconds": 0.3 if SOAK else 0.06},
    {"do": "drop_after", "when": {"nth": [2, 9]}},
    {"do": "status", "status": 413, "when": {"nth": [4]}},
    {"do": "status", "status": 503, "when": {"probability": 0.1}},
]
ENDS = """
SELECT id::text, status, error ->> 'field' AS field, error ->> 'message' AS message
  FROM ferryman.jobs WHERE kind = 'track_event'
"""
BAD = {
    ("failed", "user", "user: is no user's id to the vendor"),
    ("failed", "properties", "properties: the vendor does not take it"),
}


def test_events_through_three_kills(harness: Harness, scale: Scale, tabled: Tabled) -> None:
    count, begun = scale(2_000, 100_000), time.monotonic()
    harness.env |= harness.sandbox.environment() | SETTINGS
    harness.sandbox.script([{"vendor": "mixpanel", **rule} for rule in WEATHER])
    small = {} if SOAK else {"INSIDE_SMALL": str(SIZE // 10)}
    convoy = Convoy(harness, KILLS + 1, **small)
    ids = enqueued(harness, count)
    for share in (0.02, 0.3, 0.6):
        convoy.kill_one("track_event", int(share * count), PATIENCE)
    convoy.arrive(PATIENCE)

    made = compared(harness, ids)
    tabled(made)
    told(convoy, count, time.monotonic() - begun)
    assert made.clean, made
    assert made.statuses == {"succeeded": count - count // 1000, "failed": count // 1000}
    few_requests(convoy, math.ceil(count / SIZE))


def few_requests(convoy: Convoy, least: int) -> None:
    """Beside those that the vendor failed, and what the kills brought."""
    statuses = [one["status"] for one in convoy.harness.sandbox.requests("mixpanel")]
    heard = sum(status in (200, 400) for status in statuses)
    assert convoy.undisturbed() <= 1.1 * least
    assert heard <= 1.1 * least + KILLS * convoy.of_a_kill("mixpanel")


def enqueued(harness: Harness, count: int) -> list[str]:
    chunk = min(count, 10_000)
    return [
        str(row["id"])
        for first in range(1, count, chunk)
        for row in harness.rows(EVENTS, {"first": first, "last": first + chunk - 1})
    ]


def compared(harness: Harness, ids: list[str]) -> Account:
    """The ledger and the vendor, event by event."""
    rows = {row.pop("id"): row for row in harness.rows(ENDS)}
    there = Counter(one["reference"] for one in harness.sandbox.effects("mixpanel", "event"))
    good = {job for job, row in rows.items() if row["status"] == "succeeded"}
    ends = {tuple(row.values()) for job, row in rows.items() if job not in good}
    unexplained = [f"{job} is at the vendor: {rows.get(job)}" for job in there.keys() - good]
    unexplained += [f"the bad ones end as {ends}"] if ends != BAD else []
    return Account(
        jobs=len(ids),
        lost=[job for job in ids if job not in rows or (job in good and job not in there)],
        twice=[job for job, n in there.items() if n > 1],
        unexplained=unexplained,
        statuses=Counter(row["status"] for row in rows.values()),
    )


def told(convoy: Convoy, count: int, seconds: float) -> None:
    sandbox = convoy.harness.sandbox
    statuses = Counter(one["status"] for one in sandbox.requests("mixpanel"))
    again = sandbox.totals()["mixpanel"].get("repeated_event", 0)
    print(f"{count} events in {seconds:.0f} s; {convoy.undisturbed()} requests undisturbed")
    print(f"answers {dict(statuses)}; {again} events arrived once more")
