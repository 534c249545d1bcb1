"""What the relay publishes, and when it does so again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg.types.json import Jsonb

from ferryman.policies import policies
from ferryman.settings import settings
from models import relay as ledger
from worker.relay import Relay

CHARGE = {"customer": "u", "amount": 1, "currency": "usd", "payment_method": "pm"}
QUEUE = "ferryman.stripe"


class Rig:
    """A relay that is ticked by hand."""

    def __init__(self, database: str, broker: str) -> None:
        self.relay = Relay(database, broker)
        self.relay._paces.clear()  # no rates, unless a test sets one
        self.connection = ledger.connect(database)
        self.broker = redis.Redis.from_url(broker)
        for vendor in policies():
            self.sql("INSERT INTO ferryman.vendor_states (vendor) VALUES (%s)", vendor)

    def sql(self, query: str, *values: Any) -> None:
        self.connection.execute(query, values)

    def enqueue(self, count: int = 1, priority: str = "normal") -> list[str]:
        query = "SELECT ferryman.enqueue('charge', %s, priority => %s)::text AS id"
        rows = [self.connection.execute(query, (Jsonb(CHARGE), priority)) for _ in range(count)]
        return [row.fetchone()["id"] for row in rows]  # type: ignore[index]

    def part(self, count: int) -> list[str]:
        """Jobs of a batch."""
        ids = self.enqueue(count, "low")
        self.sql("UPDATE ferryman.jobs SET batch_id = %s WHERE id = ANY(%s)", uuid4(), ids)
        return ids

    def tick(self) -> int:
        return self.relay.tick(self.connection)

    def queue(self) -> list[str]:
        """The ids in the queue, the next to be taken first."""
        found: Any = self.broker.lrange(QUEUE, 0, -1)
        return [json.loads(raw)["headers"]["id"] for raw in reversed(found)]

    def published_ago(self, seconds: int) -> None:
        self.sql(
            "UPDATE ferryman.jobs SET published_at = now() - make_interval(secs => %s)"
            " WHERE published_at IS NOT NULL",
            seconds,
        )


@pytest.fixture
def rig(ledger_url: str, broker_url: str) -> Iterator[Rig]:
    made = Rig(ledger_url, broker_url)
    yield made
    made.connection.close()
    made.broker.close()


def test_due_jobs_are_published_once_best_first(rig: Rig) -> None:
    low, normal, high = (rig.enqueue(1, p)[0] for p in ("low", "normal", "high"))

    assert rig.tick() == 3
    assert rig.queue() == [high, normal, low]
    assert rig.tick() == 0


def test_a_planned_job_waits_for_its_time(rig: Rig) -> None:
    (planned,) = rig.enqueue()
    rig.sql("UPDATE ferryman.jobs SET run_at = now() + interval '1 hour'")

    assert rig.tick() == 0
    rig.sql("UPDATE ferryman.jobs SET run_at = now()")
    assert rig.tick() == 1
    assert rig.queue() == [planned]


def test_a_queue_is_never_longer_than_its_window(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "relay_window", 5)
    rig.enqueue(12)

    assert rig.tick() == 5
    assert rig.tick() == 0
    rig.broker.rpop(QUEUE, 2)
    assert rig.tick() == 2
    assert rig.broker.llen(QUEUE) == 5


def test_what_a_wiped_broker_lost_is_published_again_after_five_seconds(rig: Rig) -> None:
    rig.enqueue(3)
    rig.tick()
    rig.broker.flushdb()

    assert rig.tick() == 0
    rig.published_ago(6)
    assert rig.tick() == 3
    rig.broker.flushdb()
    rig.published_ago(6)
    assert rig.tick() == 0, "the second time it takes twice as long"


def test_a_message_lost_beside_others_is_published_again_after_a_minute(rig: Rig) -> None:
    lost, kept = rig.enqueue(2)
    rig.tick()
    rig.broker.rpop(QUEUE)
    assert rig.queue() == [kept]

    rig.published_ago(30)
    assert rig.tick() == 0
    rig.published_ago(61)
    assert rig.tick() == 2
    assert lost in rig.queue()


@pytest.mark.parametrize(
    "state",
    [
        "paused_at = now()",
        "cooldown_until = now() + interval '1 min'",
        "breaker = 'open', probe_at = now() + interval '1 min'",
        "breaker = 'half-open', probe_until = now() + interval '1 min'",
    ],
)
def test_nothing_is_published_for_a_vendor_that_is_not_to_be_called(rig: Rig, state: str) -> None:
    rig.enqueue(3)
    rig.sql(f"UPDATE ferryman.vendor_states SET {state} WHERE vendor = 'stripe'")

    assert rig.tick() == 0


def test_a_pause_for_other_credentials_binds_only_those(rig: Rig) -> None:
    rig.enqueue()
    rig.sql("UPDATE ferryman.vendor_states SET paused_at = now(), pause_fingerprint = 'another'")

    assert rig.tick() == 1


def test_one_probe_is_published_when_an_open_breaker_is_due(rig: Rig) -> None:
    rig.enqueue(5)
    rig.sql("UPDATE ferryman.vendor_states SET breaker = 'open', probe_at = now()")

    assert rig.tick() == 1
    assert rig.tick() == 0


def test_one_relay_acts_at_a_time(rig: Rig, ledger_url: str) -> None:
    rig.enqueue()
    with psycopg.connect(ledger_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (ledger.LOCK,))
        assert rig.tick() == 0
    assert rig.tick() == 1


def test_what_strangers_send_is_refused_and_stops_nothing(rig: Rig) -> None:
    envelope: dict[str, Any] = {
        "content-type": "application/json",
        "headers": {"task": "ferryman.charge", "id": "01920488-9612-7123-8945-123456789012"},
        "body": "W1tdLCB7fSwge31d",
    }
    bad: list[bytes | str] = [
        b"garbage",
        json.dumps(envelope | {"headers": {"task": "ferryman.charge", "id": 5}}),
        json.dumps(envelope | {"headers": envelope["headers"] | {"task": "ferryman.a\0b"}}),
        json.dumps(envelope | {"headers": envelope["headers"] | {"task": "ferryman.nothing"}}),
    ]
    rig.broker.lpush("ferryman", *bad, json.dumps(envelope))

    rig.tick()

    assert rig.broker.llen("ferryman") == 0
    count = rig.connection.execute("SELECT count(*) AS n FROM ferryman.jobs").fetchone()
    assert count == {"n": 1}


def test_a_vendor_with_a_rate_gets_what_it_can_take_soon(rig: Rig) -> None:
    rig.relay._paces["stripe"] = 5
    rig.enqueue(12)

    assert rig.tick() == 5
    rig.broker.delete(QUEUE)
    assert rig.tick() == 0, "a worker holds them"
    rig.sql("UPDATE ferryman.jobs SET status = 'running' WHERE published_at IS NOT NULL")
    assert rig.tick() == 5


def test_what_a_wiped_broker_lost_of_a_rated_vendor_is_published_again(rig: Rig) -> None:
    rig.relay._paces["stripe"] = 5
    rig.enqueue(12)
    rig.tick()
    rig.broker.flushdb()
    rig.published_ago(6)

    assert rig.tick() == 5


def test_a_vendor_that_has_just_come_back_is_not_given_all_at_once(rig: Rig) -> None:
    rig.enqueue(100)
    rig.sql("UPDATE ferryman.vendor_states SET draining = true WHERE vendor = 'stripe'")

    assert rig.tick() == 64
    assert rig.tick() == 0


def test_few_jobs_of_batches_are_under_way_and_others_pass_them(rig: Rig) -> None:
    rig.relay._parts["stripe"] = 3
    parts = rig.part(10)
    singles = [rig.enqueue(2, priority) for priority in ("low", "normal", "high")]
    low, normal, high = singles

    assert rig.tick() == 3 + 6
    assert rig.queue() == high + normal + parts[:3] + low
    rig.sql(
        "UPDATE ferryman.jobs SET status = 'running', published_at = NULL WHERE id = ANY(%s)",
        parts[:2],
    )
    late = rig.enqueue()
    assert rig.tick() == 1, "those that run are under way as well"
    assert rig.queue()[-1:] == late
    rig.sql("UPDATE ferryman.jobs SET status = 'succeeded' WHERE id = ANY(%s)", parts[:2])
    assert rig.tick() == 2


def test_a_tick_that_keeps_a_batch_back_comes_again_soon(rig: Rig) -> None:
    rig.relay._parts["stripe"] = 3
    rig.part(5)
    rig.tick()
    assert not rig.relay._kept_back, "it comes again soon because it has moved some"
    assert rig.tick() == 0
    assert rig.relay._kept_back
    rig.sql("UPDATE ferryman.jobs SET status = 'succeeded', published_at = NULL")
    rig.tick()

    assert not rig.relay._kept_back


def test_jobs_of_a_batch_that_a_wiped_broker_lost_go_again_and_no_others(rig: Rig) -> None:
    rig.relay._parts["stripe"] = 3
    lost = rig.part(10)[:3]
    rig.tick()
    rig.broker.flushdb()
    rig.published_ago(6)

    assert rig.tick() == 3
    assert sorted(rig.queue()) == sorted(lost)


def test_a_paused_batch_takes_no_place_of_another(rig: Rig) -> None:
    rig.relay._parts["stripe"] = 3
    rig.part(3)
    rig.tick()
    rig.sql("UPDATE ferryman.jobs SET run_at = '9000-01-01'")
    rig.part(5)

    assert rig.tick() == 3
