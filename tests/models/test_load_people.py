"""What a person does to a rider, at each moment of its way."""

from __future__ import annotations

from uuid import UUID

from models import settle
from models.loads import Odd
from tests.models.loads import Depot


async def ask_to_cancel(yard: Depot, rider: UUID) -> str:
    async with yard.ledger.transaction() as connection:
        row = await settle.lock(connection, rider)
        assert row is not None
        return await settle.ask_to_cancel(connection, row, {})


async def again(yard: Depot, rider: UUID, *, fresh: bool) -> None:
    async with yard.ledger.transaction() as connection:
        await settle.again(connection, [rider], fresh=fresh)


async def test_a_waiting_rider_that_is_cancelled_is_not_taken(yard: Depot) -> None:
    one, other = await yard.riders(2)
    async with yard.ledger.transaction() as connection:
        await settle.cancel(connection, one)

    _, riders = await yard.ride()
    assert [rider.id for rider in riders] == [other]


async def test_a_rider_on_its_way_is_cancelled_by_what_comes_of_it(yard: Depot) -> None:
    one, other = await yard.riders(2)
    load, _ = await yard.ride()
    assert await ask_to_cancel(yard, one) == "running"
    await yard.disband(load)

    assert (await yard.row(one))["status"] == "cancelled"
    load, _ = await yard.ride()
    assert await ask_to_cancel(yard, other) == "running"
    await yard.settle(load)
    assert (await yard.row(other))["status"] == "succeeded"


async def test_a_rider_in_doubt_is_repeated_though_a_cancel_was_asked(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    await yard.send(load)
    await yard.disband(load)
    assert await ask_to_cancel(yard, rider) == "waiting"

    load, (found,) = await yard.ride()
    assert (found.cancelled, found.doubt) == (True, "natural")
    await yard.settle(load)
    assert (await yard.row(rider))["status"] == "succeeded"


async def test_a_person_resolves_or_repeats_a_rider_in_doubt(yard: Depot) -> None:
    one, other = await yard.riders(2)
    load, _ = await yard.ride()
    await yard.send(load, "key", 3600)
    await yard.disband(load, max_attempts=1)
    assert await yard.statuses() == {"unknown": 2}
    async with yard.ledger.transaction() as connection:
        end = settle.End("succeeded", {"id": str(one)})
        assert await settle.settle(connection, one, end, leaves=["unknown"])
    assert await yard.doubts(one) == []

    await again(yard, other, fresh=False)
    (found,) = await yard.look()
    assert (found.id, found.doubt, found.attempts) == (other, "key", 0)


async def test_a_failed_rider_that_a_person_sends_again_rides_again(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    await yard.settle(load, [Odd(rider, "failed", {"code": "refused"})])
    await yard.close(load)
    await again(yard, rider, fresh=True)

    load, (found,) = await yard.ride()
    assert (found.id, found.doubt) == (rider, None)
    await yard.settle(load)
    row = await yard.row(rider)
    assert (row["status"], row["error"], row["fence"]) == ("succeeded", None, 2)


async def test_a_rider_that_has_gone_on_is_none_of_its_first_load_s(yard: Depot) -> None:
    (rider,) = await yard.riders()
    first, _ = await yard.ride()
    async with yard.ledger.transaction() as connection:
        end = settle.End("failed", error={"code": "refused"})
        assert await settle.settle(connection, rider, end, leaves=["running"])
    await again(yard, rider, fresh=True)
    second, _ = await yard.ride()

    await yard.disband(first)

    row = await yard.row(rider)
    assert (row["status"], row["load"]) == ("running", second.id)
