"""Riders and their loads: who is taken, what becomes of each, and what a crash leaves behind."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from models import loads, metrics, scorecard
from models.loads import LOOK, Odd
from tests.models.loads import KIND, VENDOR, Depot, depot

DECLINED = {"code": "refused", "message": "no user", "field": "user", "type": "Refused"}


async def test_the_best_are_taken_first_and_no_more_than_asked(yard: Depot) -> None:
    low, normal, high = [
        await yard.riders(2, priority=priority) for priority in ("low", "normal", "high")
    ]
    await yard.riders(1, later=7200)

    load, taken = await yard.ride(5)

    assert [rider.id for rider in taken] == [*high, *normal, low[0]]
    assert taken[0].args == {"event": 1}
    row = await yard.row(high[0])
    assert (row["status"], row["load"], row["fence"], row["attempts"]) == ("running", load.id, 1, 1)
    assert row["worker_id"] is None
    (kept,) = await yard.rows("SELECT * FROM ferryman.loads")
    assert kept["riders"] == [rider.id for rider in taken]
    assert (kept["vendor"], kept["kind"], kept["records"]) == (VENDOR, KIND, 5)


async def test_two_take_at_once_and_none_is_taken_twice_or_left(
    yard: Depot, database_url: str
) -> None:
    ids = await yard.riders(400)
    async with depot(database_url, sweep=False) as other:
        rides = [place.ride(50) for place in (yard, other) for _ in range(4)]
        found = await asyncio.gather(*rides)

    taken = [rider.id for _, riders in found for rider in riders]
    assert [len(riders) for _, riders in found] == [50] * 8
    assert sorted(taken) == sorted(ids)


async def test_what_is_looked_at_and_not_taken_is_as_it_was(yard: Depot) -> None:
    ids = await yard.riders(3)
    load = await yard.load()
    async with yard.ledger.transaction() as connection:
        first, bad, rest = await loads.look(connection, VENDOR, KIND, 3)
        ended = [Odd(bad.id, "failed", DECLINED)]
        await loads.take(connection, load.id, [first], ended, records=1, bytes=9)

    row = await yard.row(bad.id)
    assert (row["status"], row["error"], row["attempts"]) == ("failed", DECLINED, 0)
    assert row["finished_at"] is not None
    assert [(await yard.row(one))["status"] for one in ids] == ["running", "failed", "waiting"]
    assert [rider.id for rider in await yard.look()] == [rest.id]


async def test_large_arguments_end_a_load_before_its_number_does(
    yard: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.riders(3)
    monkeypatch.setattr(loads, "MOST_BYTES", 1)

    assert len(await yard.look()) == 1


async def test_each_gets_the_outcome_that_its_record_had(yard: Depot) -> None:
    good, refused, busy, stopped = await yard.riders(4)
    load, _ = await yard.ride()
    await yard.send(load)
    await yard.rows("UPDATE ferryman.jobs SET cancel_at = now() WHERE id = :id", id=stopped)
    error = {"code": "unavailable", "message": "the row is locked"}

    told = await yard.settle(
        load,
        [
            Odd(refused, "failed", DECLINED),
            Odd(busy, "waiting", error, delay=60),
            Odd(stopped, "waiting", error, delay=60),
        ],
    )

    assert told == 4
    row = await yard.row(good)
    assert (row["status"], row["result"]) == (
        "succeeded",
        {"id": str(good), "status": "accepted"},
    )
    row = await yard.row(refused)
    assert (row["status"], row["error"], row["result"]) == ("failed", DECLINED, None)
    row = await yard.row(busy)
    assert (row["status"], row["reason"], row["error"]) == ("waiting", "the row is locked", None)
    assert [rider.id for rider in await yard.look()] == [], "after its delay, not before"
    assert (await yard.row(stopped))["status"] == "cancelled"
    assert await yard.doubts(load.id) == []
    await yard.close(load)


async def test_an_own_result_is_kept_as_it_is(yard: Depot) -> None:
    one, other = await yard.riders(2)
    load, _ = await yard.ride()
    await yard.settle(load, [Odd(one, "succeeded", result={"vendor_reference": "7"})])

    assert (await yard.row(one))["result"] == {"vendor_reference": "7"}
    assert (await yard.row(other))["result"] == {"id": str(other), "status": "accepted"}


async def test_the_planner_finds_riders_by_their_own_index(yard: Depot) -> None:
    await yard.rows("""
        INSERT INTO ferryman.jobs (id, kind, vendor, args, run_at)
        SELECT ferryman.uuid7(), 'track_event', 'mixpanel', '{}', now() + interval '1 day'
          FROM generate_series(1, 3000)
    """)
    await yard.riders(20)
    lane = {"vendor": VENDOR, "kind": KIND, "priority": "normal", "innocent": False, "most": 10}
    async with yard.ledger.transaction() as connection:
        await connection.execute(text("ANALYZE ferryman.jobs"))
        plan = (await connection.execute(text(f"EXPLAIN {LOOK.text}"), lane)).scalars().all()

    assert any("Index Scan using jobs_riders_idx" in line for line in plan), plan
    assert not any("Sort" in line for line in plan), plan


async def test_riders_show_in_what_waits_for_a_vendor(yard: Depot) -> None:
    await yard.riders(3)
    await yard.riders(1, kind="identify_user", later=-3600)
    await yard.ride(1)
    await yard.load()
    async with yard.ledger.transaction() as connection:
        oldest = await metrics.oldest(connection, [VENDOR, "stripe"])
        card = await scorecard.read(connection, [VENDOR])

    assert oldest["stripe"] == 0
    assert oldest[VENDOR] == pytest.approx(7200, abs=5)
    queue = card[VENDOR]["queue"]
    assert (queue["waiting"], queue["in_flight"]) == (3, 2), "loads in flight, riders waiting"
