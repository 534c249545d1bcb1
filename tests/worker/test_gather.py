"""When the relay sends a load for jobs that ride, and for whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ferryman.policies import policies
from models import relay as ledger
from models.engine import dumps
from models.gather import DUE, Lane
from worker.relay import Relay, _lanes

QUEUE = "ferryman.stripe"
# Any vendor will do: what rides and how is the lane's.
EVENTS = Lane("stripe", "track_event", 10, 3, 60.0)
PEOPLE = Lane("stripe", "identify_user", 10, 1, 60.0)

RIDERS = """
INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, run_at, crashes)
SELECT ferryman.uuid7(), %(kind)s, 'stripe', '{}', %(priority)s::ferryman.priority,
       now() - make_interval(secs => %(age)s), %(crashes)s
  FROM generate_series(1, %(count)s)
"""


class Rig:
    """A relay that is ticked by hand, with two lanes."""

    def __init__(self, database: str, broker: str) -> None:
        self.relay = Relay(database, broker)
        self.relay._paces.clear()
        self.relay._lanes = [EVENTS, PEOPLE]
        self.connection = ledger.connect(database)
        self.broker = redis.Redis.from_url(broker)
        for table in ("jobs", "loads", "vendor_states"):
            self.sql(f"DELETE FROM ferryman.{table}")
        for vendor in policies():
            self.sql("INSERT INTO ferryman.vendor_states (vendor) VALUES (%s)", vendor)

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        found = self.connection.execute(query, values)
        return found.fetchall() if found.description else []

    def riders(
        self,
        count: int,
        *,
        kind: str = "track_event",
        priority: str = "normal",
        age: float = 1,
        crashes: int = 0,
    ) -> None:
        values = {"count": count, "kind": kind, "priority": priority, "age": age}
        self.connection.execute(RIDERS, {**values, "crashes": crashes})

    def tick(self) -> int:
        return self.relay.tick(self.connection)

    def queue(self) -> list[str]:
        """The tasks in the queue, the next to be taken first."""
        found: Any = self.broker.lrange(QUEUE, 0, -1)
        return [json.loads(raw)["headers"]["task"] for raw in reversed(found)]

    def taken(self, count: int) -> None:
        """So many riders are in the loads that were sent, which run."""
        self.sql(
            "UPDATE ferryman.jobs SET status = 'running' WHERE id IN ("
            " SELECT id FROM ferryman.jobs WHERE kind = 'track_event' AND status = 'waiting'"
            "  ORDER BY priority, run_at LIMIT %s)",
            count,
        )
        self.sql(
            "INSERT INTO ferryman.loads (job_id, vendor, kind, riders, records, bytes)"
            " SELECT id, vendor, 'track_event', '{}', 0, 0 FROM ferryman.jobs"
            "  WHERE kind = 'track_event_load' AND status = 'waiting'"
        )
        self.sql(
            "UPDATE ferryman.jobs SET status = 'running', worker_id = ferryman.uuid7(),"
            " published_at = NULL WHERE kind = 'track_event_load' AND status = 'waiting'"
        )
        self.broker.delete(QUEUE)

    def ended(self) -> None:
        self.sql("UPDATE ferryman.jobs SET status = 'succeeded' WHERE status = 'running'")


@pytest.fixture
def rig(database_url: str, broker_url: str) -> Iterator[Rig]:
    made = Rig(database_url, broker_url)
    yield made
    made.connection.close()
    made.broker.close()


def test_riders_are_never_published_and_a_full_load_goes_at_once(rig: Rig) -> None:
    rig.riders(23)

    assert rig.tick() == 2
    assert rig.queue() == ["ferryman.track_event_load"] * 2
    (load, _) = rig.sql("SELECT * FROM ferryman.jobs WHERE kind = 'track_event_load'")
    assert (load["args"], load["status"], load["priority"]) == ({}, "waiting", "normal")
    assert rig.relay._kept_back, "three wait for company"
    assert rig.tick() == 0, "the two have not taken theirs yet"
    rig.taken(20)
    assert rig.tick() == 0


def test_what_has_waited_long_enough_goes_without_company(rig: Rig) -> None:
    rig.riders(3)
    assert rig.tick() == 0
    assert rig.relay._kept_back
    rig.sql("UPDATE ferryman.jobs SET run_at = run_at - interval '1 minute'")

    assert rig.tick() == 1
    assert not rig.relay._kept_back
    assert rig.tick() == 0


def test_the_rest_lingers_by_its_own_age_not_by_that_of_full_loads(rig: Rig) -> None:
    rig.riders(10, age=300)
    rig.riders(3)

    assert rig.tick() == 1
    assert rig.tick() == 0


def test_what_is_urgent_waits_for_no_company(rig: Rig) -> None:
    rig.riders(2, priority="low")
    rig.riders(1, priority="high")

    assert rig.tick() == 1
    (load,) = rig.sql("SELECT priority FROM ferryman.jobs WHERE kind = 'track_event_load'")
    assert load == {"priority": "high"}


def test_each_load_is_as_urgent_as_its_best_rider(rig: Rig) -> None:
    rig.riders(20, priority="low")
    rig.riders(1, priority="high")

    assert rig.tick() == 2
    loads = rig.sql(
        "SELECT priority FROM ferryman.jobs WHERE kind = 'track_event_load' ORDER BY priority"
    )
    assert [load["priority"] for load in loads] == ["high", "low"]


def test_no_more_loads_are_under_way_than_the_lane_takes(rig: Rig) -> None:
    rig.riders(100)
    rig.riders(30, kind="identify_user")

    assert rig.tick() == 4
    assert (
        sorted(rig.queue()) == ["ferryman.identify_user_load"] + ["ferryman.track_event_load"] * 3
    )
    assert rig.tick() == 0
    rig.taken(30)
    assert rig.tick() == 0
    assert rig.relay._kept_back, "it looks again soon whether one has ended"
    rig.ended()
    assert rig.tick() == 3


def test_what_is_planned_for_later_makes_no_load(rig: Rig) -> None:
    rig.riders(10, age=-60)

    assert rig.tick() == 0
    assert not rig.relay._kept_back


@pytest.mark.parametrize(
    ("state", "loads"),
    [
        ("paused_at = now()", 0),
        ("cooldown_until = now() + interval '1 min'", 0),
        ("breaker = 'open', probe_at = now() + interval '1 min'", 0),
        ("breaker = 'open', probe_at = now()", 1),
        ("draining = true", 3),
    ],
)
def test_loads_are_made_only_for_a_vendor_that_may_be_called(
    rig: Rig, state: str, loads: int
) -> None:
    rig.riders(50)
    rig.sql(f"UPDATE ferryman.vendor_states SET {state} WHERE vendor = 'stripe'")

    assert rig.tick() == loads
    (made,) = rig.sql(
        "SELECT count(*)::int AS n FROM ferryman.jobs WHERE kind = 'track_event_load'"
    )
    assert made == {"n": loads}
    assert rig.tick() == 0


def test_suspects_go_one_load_at_a_time(rig: Rig) -> None:
    rig.riders(25, crashes=1)

    assert rig.tick() == 1
    assert rig.tick() == 0
    rig.taken(1)
    assert rig.tick() == 0
    assert rig.relay._kept_back
    rig.ended()
    assert rig.tick() == 1


def test_a_load_outlives_any_wait_since_its_riders_have_their_own(rig: Rig) -> None:
    rig.riders(10)
    rig.tick()
    (load,) = rig.sql(
        "SELECT due_at > now() + interval '99 years' AS far FROM ferryman.jobs"
        " WHERE kind = 'track_event_load'"
    )

    assert load == {"far": True}


def test_a_lost_message_of_a_load_is_published_again(rig: Rig) -> None:
    rig.riders(10)
    rig.tick()
    rig.broker.flushdb()
    rig.sql(
        "UPDATE ferryman.jobs SET published_at = now() - interval '6 s'"
        " WHERE published_at IS NOT NULL"
    )

    assert rig.tick() == 1
    assert rig.queue() == ["ferryman.track_event_load"]


def test_lanes_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    riding = policies()["stripe"].model_copy(
        update={
            "kinds": ("charge", "track_event", "identify_user"),
            "batch_size": 2000,
            "loads_in_flight": 4,
            "linger_seconds": 0.25,
        }
    )
    monkeypatch.setattr("worker.relay.policies", lambda: {"stripe": riding})

    assert _lanes() == [
        Lane("stripe", "track_event", 2000, 4, 0.25),
        Lane("stripe", "identify_user", 2000, 1, 0.25),
    ]


def test_the_planner_finds_what_is_due_by_its_index(rig: Rig) -> None:
    rig.riders(3000, age=-86400)
    rig.riders(50)
    rig.sql("ANALYZE ferryman.jobs")
    rows = rig.connection.execute(f"EXPLAIN {DUE}", {"lanes": dumps([EVENTS])}).fetchall()
    plan = [row["QUERY PLAN"] for row in rows]

    assert any("Index Scan using jobs_riders_idx" in line for line in plan), plan
    assert not any("Seq Scan on jobs" in line for line in plan), plan
