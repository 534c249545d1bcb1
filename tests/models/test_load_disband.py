"""A load that ends without an answer is disbanded: what becomes of each of its riders."""

from __future__ import annotations

from typing import Any

import pytest

from models import loads
from models.loads import Odd
from tests.models.loads import VENDOR, Depot

DECLINED = {"code": "refused", "message": "no user", "field": "user", "type": "Refused"}


@pytest.mark.parametrize(
    ("cancel", "sent", "how", "status", "attempts", "code"),
    [
        (False, False, {}, "waiting", 1, None),
        (False, False, {"counts": False}, "waiting", 0, None),
        (False, True, {}, "waiting", 1, None),
        (True, False, {}, "cancelled", 1, None),
        (True, True, {}, "waiting", 1, None),
        (False, False, {"max_attempts": 1}, "failed", 1, "refused"),
        (False, True, {"max_attempts": 1}, "unknown", 1, "refused"),
        (False, False, {"max_attempts": 1, "counts": False}, "waiting", 0, None),
        (False, False, {"fails": True}, "failed", 1, "refused"),
        (False, True, {"fails": True}, "unknown", 1, "refused"),
        (False, False, {"crashed": True}, "failed", 1, "refused"),
        (False, True, {"crashed": True}, "unknown", 1, "refused"),
        (False, False, {"crashed": True, "max_crashes": 2}, "waiting", 1, None),
    ],
)
async def test_a_load_that_is_disbanded_leaves_nobody_behind(
    yard: Depot,
    cancel: bool,
    sent: bool,
    how: dict[str, Any],
    status: str,
    attempts: int,
    code: str | None,
) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    if sent:
        await yard.send(load)
    if cancel:
        await yard.rows("UPDATE ferryman.jobs SET cancel_at = now() WHERE id = :id", id=rider)

    await yard.disband(load, reason="retries: it is away", error=DECLINED, **how)

    row = await yard.row(rider)
    assert (row["status"], row["attempts"]) == (status, attempts)
    assert (row["error"] or {}).get("code") == code
    assert (row["reason"] == "retries: it is away") is (status == "waiting")
    assert (row["finished_at"] is not None) is (status in ("failed", "cancelled"))
    assert bool(await yard.doubts(rider)) is sent
    (attempt,) = await yard.rows("SELECT * FROM ferryman.attempts WHERE job_id = :id", id=rider)
    assert (attempt["number"], attempt["load"], attempt["error"]) == (1, load.id, DECLINED)


async def test_a_defect_in_company_is_looked_for_and_blamed_on_nobody_yet(yard: Depot) -> None:
    ids = await yard.riders(2)
    load, _ = await yard.ride()
    await yard.disband(load, error=DECLINED, crashed=True)

    rows = [await yard.row(one) for one in ids]
    assert [(row["status"], row["crashes"]) for row in rows] == [("waiting", 1)] * 2
    assert len(await yard.look(8)) == 1


async def test_riders_go_again_together_and_later_each_time(yard: Depot) -> None:
    first = await yard.riders(2)
    load, _ = await yard.ride()
    await yard.disband(load, delay=10)
    await yard.rows("UPDATE ferryman.jobs SET run_at = now() - interval '1 s'")
    late = await yard.riders(1)
    load, _ = await yard.ride()
    await yard.disband(load, delay=10, max_delay=15)

    waits = (
        "SELECT round(extract(epoch FROM run_at - now())) AS s FROM ferryman.jobs WHERE id = :id"
    )
    seconds = [(await yard.rows(waits, id=one))[0]["s"] for one in first + late]
    assert seconds[0] == seconds[1] == pytest.approx(15, abs=1)
    assert seconds[2] == pytest.approx(10, abs=1)


async def test_what_a_load_may_have_sent_is_in_doubt_for_each_rider(yard: Depot) -> None:
    one, other = await yard.riders(2)
    load, _ = await yard.ride()
    await yard.send(load, "key", 3600)
    await yard.disband(load)

    assert await yard.doubts(load.id) == []
    for rider in (one, other):
        (doubt,) = await yard.doubts(rider)
        assert doubt == {
            "attempt": 1,
            "vendor_key": str(rider),
            "repeat": "key",
            "repeatable": True,
        }
    again, riders = await yard.ride()
    assert [rider.doubt for rider in riders] == ["key", "key"]
    await yard.settle(again, [Odd(one, "waiting", DECLINED)])
    assert len(await yard.doubts(one)) == 1, (
        "it was not taken now: what was sent first may have been"
    )
    assert await yard.doubts(other) == []


@pytest.mark.parametrize(
    ("repeat", "seconds", "doubt"),
    [
        ("natural", None, "natural"),
        ("key", 3600, "key"),
        ("key", 5, "late"),
        ("never", None, "late"),
    ],
)
async def test_how_a_rider_in_doubt_may_be_repeated(
    yard: Depot, repeat: str, seconds: float | None, doubt: str
) -> None:
    await yard.riders()
    load, _ = await yard.ride()
    await yard.send(load, repeat, seconds)
    await yard.disband(load)

    (rider,) = await yard.look()
    assert rider.doubt == doubt


async def test_a_disbanded_load_takes_nothing_from_a_later_one(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    await yard.die_and_rescue()
    later, _ = await yard.ride()

    assert await yard.settle(load) == 0, "the first is lost"
    row = await yard.row(rider)
    assert (row["status"], row["load"]) == ("running", later.id)


async def test_a_late_answer_is_kept_and_changes_nothing(yard: Depot) -> None:
    (rider,) = await yard.riders()
    load, _ = await yard.ride()
    await yard.die_and_rescue()
    seen = {
        "id": str(rider),
        "job_id": str(load.id),
        "attempt": 1,
        "vendor": VENDOR,
        "method": "POST",
        "url": "/import",
        "status_code": 200,
        "latency_ms": 5,
        "at": "2026-11-28T00:00:00Z",
    }
    async with yard.ledger.transaction() as connection:
        assert not await loads.settle(connection, load.id, load.fence, {}, [], ["load"], [seen])

    assert (await yard.row(rider))["status"] == "waiting"
    assert len(await yard.rows("SELECT FROM ferryman.interactions")) == 1
