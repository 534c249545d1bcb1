"""What becomes of riders when the worker of their load dies, and how poison among them is found."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from models.loads import Odd
from models.walk import Claim
from tests.models.loads import KIND, VENDOR, Depot, rescue


async def test_a_worker_that_dies_before_the_take_leaves_riders_alone(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load = await yard.load()

    assert await yard.die_and_rescue() == {load.id: "cancelled"}
    assert (await yard.row(rider))["crashes"] == 0


@pytest.mark.parametrize("sent", [False, True])
async def test_riders_of_a_dead_worker_wait_again(yard: Depot, sent: bool) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    if sent:
        await yard.send(load)
    before = await yard.row(rider)

    assert await yard.die_and_rescue() == {load.id: "cancelled"}

    row = await yard.row(rider)
    assert (row["status"], row["crashes"], row["attempts"]) == ("waiting", 1, 0)
    assert row["run_at"] == before["run_at"], "it stands where it stood"
    assert bool(await yard.doubts(rider)) is sent
    (attempt,) = await yard.rows("SELECT * FROM ferryman.attempts WHERE job_id = :id", id=rider)
    assert (attempt["outcome"], attempt["load"]) == ("lease_lost", load.id)


async def test_a_living_worker_keeps_its_load(yard: Depot) -> None:
    (rider,) = await yard.riders()
    await yard.ride()
    async with yard.ledger.transaction() as connection:
        assert await rescue(connection, 3) == []

    assert (await yard.row(rider))["status"] == "running"


async def test_a_load_that_was_told_before_the_crash_just_ends(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    await yard.send(load)
    await yard.settle(load)

    assert await yard.die_and_rescue() == {load.id: "cancelled"}
    assert await yard.statuses() == {"succeeded": 1}
    assert await yard.doubts(rider) == []


async def test_a_load_that_ended_without_its_riders_is_found(yard: Depot) -> None:
    await yard.riders(2)
    load, _ = await yard.ride()
    await yard.close(load)
    assert await yard.statuses() == {"running": 2}
    async with yard.ledger.transaction() as connection:
        await rescue(connection, 3)

    assert await yard.statuses() == {"waiting": 2}
    assert [rider.crashes for rider in await yard.look()] == [0, 0]


async def test_a_worker_that_ended_in_order_makes_no_suspects(yard: Depot) -> None:
    (rider,) = await yard.riders()
    await yard.ride()
    await yard.rows("DELETE FROM ferryman.workers")
    await yard.die_and_rescue()

    row = await yard.row(rider)
    assert (row["status"], row["crashes"]) == ("waiting", 0)


async def test_poison_is_found_alone_in_ever_smaller_loads(yard: Depot) -> None:
    ids = await yard.riders(200)
    poison = ids[70]
    sizes: list[int] = []
    ended: dict[UUID, str] = {}
    for _ in range(20):
        if ended:
            break
        _load, riders = await yard.ride(100)
        if poison not in [rider.id for rider in riders]:
            await yard.settle(_load)
            await yard.close(_load)
            continue
        sizes.append(len(riders))
        fates = await yard.die_and_rescue()
        ended = {one: fate for one, fate in fates.items() if one in ids}

    assert sizes == [100, 12, 1]
    assert ended == {poison: "failed"}
    assert (await yard.row(poison))["error"]["code"] == "poison"
    crashes = "SELECT max(crashes) AS n FROM ferryman.jobs WHERE kind = :k AND id <> :id"
    assert await yard.rows(crashes, k=KIND, id=poison) == [{"n": 2}], "of its neighbours"


async def test_poison_that_may_have_had_its_effect_is_unknown(yard: Depot) -> None:
    (rider,) = await yard.riders()
    for _ in range(3):
        load, _riders = await yard.ride()
        await yard.send(load)
        fates = await yard.die_and_rescue()

    assert fates[rider] == "unknown"
    assert (await yard.row(rider))["error"]["code"] == "outcome_unknown"


async def test_success_acquits(yard: Depot) -> None:
    ids = await yard.riders(3)
    await yard.ride()
    await yard.die_and_rescue()
    for _ in range(3):
        load, _ = await yard.ride(8)
        await yard.settle(load, [Odd(one, "waiting", {"message": "again"}) for one in ids])
        await yard.close(load)

    assert [(await yard.row(one))["crashes"] for one in ids] == [0, 0, 0]


async def test_suspects_go_one_load_at_a_time(yard: Depot) -> None:
    suspects = await yard.riders(30)
    await yard.ride()
    await yard.die_and_rescue()
    innocents = await yard.riders(5, later=60)

    _, first = await yard.ride(16)
    _, second = await yard.ride(16)
    _, third = await yard.ride(16)

    assert [rider.id for rider in first] == suspects[:2]
    assert [rider.id for rider in second] == innocents, "however many suspects stand before them"
    assert third == []


async def test_a_worker_with_a_load_of_suspects_takes_no_other_suspect(yard: Depot) -> None:
    await yard.riders(2)
    await yard.ride()
    await yard.die_and_rescue()
    worker = await yard.worker()
    load, _ = await yard.ride(8, worker)
    assert (await yard.row(load.id))["crashes"] == 1
    suspect = uuid4()
    await yard.rows(
        "INSERT INTO ferryman.jobs (id, kind, vendor, args, crashes)"
        " VALUES (:id, 'charge', 'stripe', '{}', 1)",
        id=suspect,
    )

    assert await yard.ledger.claim(Claim(suspect, "charge", "stripe", uuid4(), worker, 60)) is None


async def test_only_the_load_of_suspects_is_blamed(yard: Depot) -> None:
    suspects = await yard.riders(2)
    await yard.ride()
    await yard.die_and_rescue()
    innocents = await yard.riders(2, later=60)
    worker = await yard.worker()
    await yard.ride(16, worker)
    await yard.ride(16, worker)
    await yard.die_and_rescue()

    assert [(await yard.row(one))["crashes"] for one in suspects] == [2, 2]
    assert [(await yard.row(one))["crashes"] for one in innocents] == [0, 0]


async def test_a_message_of_a_rider_s_own_is_dropped(yard: Depot) -> None:
    (rider,) = await yard.riders()

    wish = Claim(rider, KIND, VENDOR, uuid4(), await yard.worker(), 60)
    assert await yard.ledger.claim(wish) is None
