"""What people do about a sync: each step at each of its ages, on the sync, its batch, or a part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from models import sync_parts, sync_plan
from models.settle import Filters
from tasks import _batch, _settle
from tasks._settle import NotAllowed
from tests.models.syncs import Sync, Syncs, copy, delete, refused, syncing


@pytest.fixture
async def syncs(database_url: str) -> AsyncIterator[Syncs]:
    async with syncing(database_url) as made:
        yield made


async def step(syncs: Syncs, module: Any, name: str, id: UUID) -> Any:
    async with syncs.ledger.transaction() as connection:
        return await getattr(module, name)(connection, id, who="test")


async def statuses(syncs: Syncs, sync: Sync) -> dict[int, str]:
    return {number: (await syncs.job(job))["status"] for number, job in sync.parts.items()}


async def late(syncs: Syncs, sync: Sync) -> set[int]:
    """Which parts are in no queue."""
    rows = {number: await syncs.job(job) for number, job in sync.parts.items()}
    return {number for number, row in rows.items() if row["run_at"].year == 9000}


async def under_way(syncs: Syncs) -> Sync:
    """A part done, one running, one left in the middle, one that has not begun, one to delete; the
    sync waits for them."""
    sync = await syncs.begin()
    await syncs.mark(sync.claimed, "sync")
    rows = [copy("a"), copy("b", 2), copy("c", 3), copy("d", 4), delete("e", 5)]
    await sync.planned(*rows, deletes=[5])
    await sync.wait()
    first = await sync.part(1)
    await first.does()
    await first.ends()
    await sync.part(2)
    left = await sync.part(3)
    await syncs.mark(left.claimed, "transfer")
    await left.rests()
    return sync


async def failed(syncs: Syncs) -> Sync:
    """One part has failed, and with it the sync; the deletes were given up."""
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2), delete("c", 3), deletes=[3])
    good, bad = await sync.part(1), await sync.part(2)
    await good.does()
    await good.ends()
    await bad.fails()
    await sync.fails()
    return sync


# --- paused and resumed


async def test_a_paused_sync_goes_on_planning_and_its_parts_wait(syncs: Syncs) -> None:
    sync = await under_way(syncs)
    await step(syncs, _batch, "pause", sync.id)

    assert await late(syncs, sync) == {3, 4, 5}
    assert (await syncs.batch(sync.id))["counts"]["sending"] == 1
    # The sync itself is out of no queue: it has to hear of a cancel.
    job = await syncs.job(sync.id)
    assert job["run_at"].year < 9000
    plan = await sync.again()
    assert plan.status == "paused"


async def test_a_resumed_sync_holds_what_it_held(syncs: Syncs) -> None:
    sync = await under_way(syncs)
    await step(syncs, _batch, "pause", sync.id)
    await step(syncs, _batch, "resume", sync.id)

    assert await late(syncs, sync) == {5}
    held = await syncs.job(sync.parts[5])
    assert held["reason"] == "waits until its sync lets it begin"
    plan = await sync.again()
    assert (plan.status, plan.held_deletes) == ("running", 1)


async def test_what_is_released_while_it_is_paused_waits_for_the_resume(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), held=[1])
    await step(syncs, _batch, "pause", sync.id)
    await sync.do(sync_plan.release, "copy")
    assert await late(syncs, sync) == {1}
    await step(syncs, _batch, "resume", sync.id)
    assert await late(syncs, sync) == set()


# --- cancelled


@pytest.mark.parametrize("module", [_batch, _settle], ids=["batch", "job"])
async def test_a_cancel_stops_the_sync_and_its_parts(syncs: Syncs, module: Any) -> None:
    sync = await under_way(syncs)
    await step(syncs, module, "cancel", sync.id)

    assert await statuses(syncs, sync) == {
        **{1: "succeeded", 2: "running", 3: "waiting"},
        **{4: "cancelled", 5: "cancelled"},
    }
    shown = await syncs.batch(sync.id)
    assert (shown["status"], shown["counts"]["cancelled"]) == ("cancelled", 2)
    # What is under way is told, and the sync runs at once to see to the end of it.
    now = datetime.now(UTC)
    for job in (sync.id, sync.parts[2], sync.parts[3]):
        assert (await syncs.job(job))["cancel_at"] is not None
    assert (await syncs.job(sync.id))["run_at"] <= now
    plan = await sync.again()
    assert (plan.stopping, plan.open_copies) == (True, 2)


@pytest.mark.parametrize("module", [_batch, _settle], ids=["batch", "job"])
async def test_before_its_plan_it_is_over_at_once(syncs: Syncs, module: Any) -> None:
    sync_id = await syncs.enqueue()
    await step(syncs, module, "cancel", sync_id)

    assert (await syncs.job(sync_id))["status"] == "cancelled"
    assert (await syncs.batch(sync_id))["status"] == "cancelled"


async def test_a_cancel_in_the_middle_of_the_plan(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await syncs.mark(sync.claimed, "sync")
    await sync.segment([copy("a")])
    await step(syncs, _batch, "cancel", sync.id)
    plan = await sync.segment([copy("b", 2)])

    assert (plan.stopping, plan.total) == (True, 1)
    assert (await syncs.job(sync.parts[1]))["status"] == "cancelled"


async def test_a_part_of_a_paused_sync_left_in_the_middle_is_not_left_for_ever(
    syncs: Syncs,
) -> None:
    sync = await under_way(syncs)
    await step(syncs, _batch, "pause", sync.id)
    assert 3 in await late(syncs, sync)
    await step(syncs, _batch, "cancel", sync.id)

    assert await late(syncs, sync) <= {4, 5}
    assert (await syncs.job(sync.parts[3]))["run_at"] <= datetime.now(UTC)


async def test_a_cancelled_sync_is_not_sent_again(syncs: Syncs) -> None:
    sync = await failed(syncs)
    await syncs.rows("UPDATE ferryman.batches SET status = 'cancelled' WHERE id = :id", id=sync.id)
    for module, name in ((_batch, "retry_failed"), (_settle, "retry")):
        with pytest.raises(NotAllowed):
            await step(syncs, module, name, sync.id)


async def test_one_part_cancelled_leaves_the_others(syncs: Syncs) -> None:
    sync = await under_way(syncs)
    await step(syncs, _settle, "cancel", sync.parts[4])

    assert (await statuses(syncs, sync))[4] == "cancelled"
    assert (await syncs.batch(sync.id))["status"] == "running"
    plan = await sync.again()
    assert (plan.stopping, plan.cancelled, plan.open_copies) == (False, 1, 2)


# --- sent again


@pytest.mark.parametrize(
    ("module", "name"),
    [(_batch, "retry_failed"), (_settle, "retry")],
    ids=["batch", "job"],
)
async def test_only_what_failed_goes_again_and_the_deletes_wait_for_it(
    syncs: Syncs, module: Any, name: str
) -> None:
    sync = await failed(syncs)
    assert await statuses(syncs, sync) == {1: "succeeded", 2: "failed", 3: "cancelled"}
    await step(syncs, module, name, sync.id)

    assert await statuses(syncs, sync) == {1: "succeeded", 2: "waiting", 3: "waiting"}
    assert await late(syncs, sync) == {3}
    assert (await syncs.job(sync.id))["status"] == "waiting"
    plan = await sync.again()
    assert (plan.open_copies, plan.held_deletes, plan.failed) == (1, 1, 0)


async def test_a_part_alone_takes_the_sync_along(syncs: Syncs) -> None:
    sync = await failed(syncs)
    await step(syncs, _settle, "retry", sync.parts[2])

    assert (await syncs.job(sync.id))["status"] == "waiting"
    assert await statuses(syncs, sync) == {1: "succeeded", 2: "waiting", 3: "waiting"}
    assert await late(syncs, sync) == {3}


@pytest.mark.parametrize("kind", ["sync_objects", "sync_objects_part", None])
async def test_by_filter_as_well(syncs: Syncs, kind: str | None) -> None:
    sync = await failed(syncs)
    async with syncs.ledger.transaction() as connection:
        await _settle.retry_failed(connection, Filters(kind=kind), who="test")

    assert await statuses(syncs, sync) == {1: "succeeded", 2: "waiting", 3: "waiting"}
    plan = await sync.again()
    assert (plan.planned, plan.open_copies, plan.held_deletes) == (True, 1, 1)


async def test_while_the_sync_still_waits_the_batch_sends_its_failed_parts(syncs: Syncs) -> None:
    sync = await under_way(syncs)
    await (await sync.part(4)).fails()
    await step(syncs, _batch, "retry_failed", sync.id)

    assert (await statuses(syncs, sync))[4] == "waiting"
    assert (await syncs.batch(sync.id))["counts"]["failed"] == 0


async def test_a_paused_batch_stays_paused_when_it_is_sent_again(syncs: Syncs) -> None:
    sync = await under_way(syncs)
    await (await sync.part(4)).fails()
    await step(syncs, _batch, "pause", sync.id)
    await step(syncs, _batch, "retry_failed", sync.id)

    assert await late(syncs, sync) == {3, 4, 5}


async def test_what_was_refused_is_planned_anew(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(refused("a"))
    await sync.fails()
    await step(syncs, _settle, "retry", sync.id)

    plan = await sync.again()
    assert (plan.planned, plan.total) == (False, 0)


async def test_what_went_well_is_not_sent_again(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    part = await sync.part(1)
    await part.does()
    await part.ends()
    await syncs.close(sync.claimed, "succeeded", "syncs", "succeeded")
    for module, name in ((_batch, "retry_failed"), (_settle, "retry")):
        with pytest.raises(NotAllowed):
            await step(syncs, module, name, sync.id)


async def test_a_sync_that_nobody_knows_of_is_resolved_with_its_parts(syncs: Syncs) -> None:
    sync = await unknown(syncs)
    async with syncs.ledger.transaction() as connection:
        await _settle.resolve(connection, sync.id, "failed", who="test", note="looked")

    assert (await statuses(syncs, sync))[5] == "cancelled"
    assert (await syncs.job(sync.parts[2]))["cancel_at"] is not None


async def unknown(syncs: Syncs) -> Sync:
    """Every worker that ran the sync died; its parts do not know of that."""
    sync = await under_way(syncs)
    await (await sync.part(4)).fails()
    await syncs.rows("UPDATE ferryman.jobs SET status = 'unknown' WHERE id = :id", id=sync.id)
    return sync


async def test_the_batch_of_one_that_nobody_knows_of_is_cancelled(syncs: Syncs) -> None:
    sync = await unknown(syncs)
    assert (await syncs.batch(sync.id))["status"] == "running"
    await step(syncs, _batch, "cancel", sync.id)

    assert (await syncs.batch(sync.id))["status"] == "cancelled"
    assert (await statuses(syncs, sync))[5] == "cancelled"
    assert (await syncs.job(sync.id))["status"] == "unknown"


@pytest.mark.parametrize("which", ["batch", "job", "part"])
async def test_one_that_nobody_knows_of_goes_on(syncs: Syncs, which: str) -> None:
    sync = await unknown(syncs)
    module, name = (_batch, "retry_failed") if which == "batch" else (_settle, "retry")
    await step(syncs, module, name, sync.parts[4] if which == "part" else sync.id)

    assert (await syncs.job(sync.id))["status"] == "waiting"
    assert (await statuses(syncs, sync))[4] == "waiting"
    plan = await sync.again()
    assert (plan.planned, plan.failed, plan.held_deletes) == (True, 0, 1)


# --- all at once


async def test_persons_parts_and_the_rescue_never_stand_in_a_ring(
    syncs: Syncs, database_url: str
) -> None:
    """Each over connections of its own. Closes would be repeated: so the server is asked."""
    sync = await syncs.begin()
    await syncs.mark(sync.claimed, "sync")
    await sync.planned(*[copy(f"{n:02}", 1 + n) for n in range(20)])
    await sync.wait()

    async def parts() -> None:
        for number in sync.parts:
            part = await sync.part(number)
            await part.does("failed" if number % 3 == 0 else "done")
            await (part.fails() if number % 3 == 0 else part.ends())

    async def persons(other: Syncs, name: str, module: Any) -> None:
        for _ in range(8):
            try:
                await step(other, module, name, sync.id)
            except NotAllowed:
                await asyncio.sleep(0.005)

    async def rescues(other: Syncs) -> None:
        for _ in range(15):
            async with other.ledger.transaction() as connection:
                await sync_parts.wake(connection)
            await other.batch(sync.id)

    async with syncing(database_url) as other, syncing(database_url) as third:
        await asyncio.gather(
            parts(),
            persons(other, "retry_failed", _batch),
            persons(third, "retry", _settle),
            rescues(third),
        )
    await syncs.batch(sync.id)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await syncs.one(deadlocks) == {"deadlocks": 0}
