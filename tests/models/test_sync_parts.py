"""Parts of a sync: what they take and record, how they end, and how the last one wakes the sync."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from models import settle, sync_parts, sync_plan, workers
from models.walk import write
from tests.models.syncs import Sync, Syncs, copy, delete, kept, refused, syncing


@pytest.fixture
async def syncs(database_url: str) -> AsyncIterator[Syncs]:
    async with syncing(database_url) as made:
        yield made


def done(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "action": "copy", "outcome": "done"} | more


async def is_due(syncs: Syncs, sync: Sync) -> bool:
    job = await syncs.job(sync.id)
    due: bool = job["status"] == "waiting" and job["run_at"] <= datetime.now(UTC)
    return due


# --- taken and recorded


async def test_a_part_takes_its_own_objects_in_order(syncs: Syncs) -> None:
    sync = await syncs.begin(compare="checksum")
    rows = [copy("b", target_digests={"md5": "1"}), copy("a"), copy("B", 2), kept("aa"), copy("c")]
    await sync.planned(*rows)
    part = await sync.part(1)

    taken = part.taken
    assert (taken.sync, taken.part, taken.action, taken.status) == (sync.id, 1, "copy", "running")
    assert (taken.args["compare"], taken.vendor, taken.dry_run) == ("checksum", "s3", False)
    assert await part.keys() == ["a", "b", "c"]
    assert await part.keys(limit=2) == ["a", "b"]
    async with syncs.ledger.transaction() as connection:
        (row,) = await sync_parts.rows(connection, taken, "a", 1)
        assert (row["key"], row["target_digests"]) == ("b", {"md5": "1"})
    counts = (await syncs.batch(sync.id))["counts"]
    assert (counts["sending"], counts["waiting"]) == (3, 1)


async def test_what_is_on_record_counts_once(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(*[copy(key) for key in "abcd"])
    part = await sync.part(1)
    group = [
        done("a", etag="e", version="v", checksum="c", size=11),
        {"key": "b", "action": "keep", "outcome": "done"},
        {"key": "c", "action": "copy", "outcome": "failed", "reason": "gone"},
        {"key": "of another part", "action": "copy", "outcome": "done"},
    ]
    for _ in range(2):
        orders = await part.record(*group)
        assert orders == sync_parts.Orders(cancelled=False, paused=False)
    await part.record(sent=11)

    assert await part.keys() == ["d"]
    shown = await syncs.batch(sync.id)
    counted = {name: n for name, n in shown["counts"].items() if n}
    assert counted == {"sent": 1, "kept": 1, "failed": 1, "sending": 1}
    objects = {name: n for name, n in shown["objects"].items() if n}
    assert objects == {
        **{"copied": 1, "kept": 1, "failed": 1, "waiting": 1},
        # What was the same need not be carried, and is no part of the way any more.
        **{"bytes": 30, "bytes_done": 11},
    }
    row = await syncs.one(
        "SELECT * FROM ferryman.objects WHERE job_id = :id AND key = 'a'", id=sync.id
    )
    assert (row["etag"], row["version"], row["checksum"], row["size"]) == ("e", "v", "c", 11)


async def test_a_zombie_records_nothing(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    zombie = await sync.part(1)
    await zombie.rests(0)
    part = await sync.part(1)

    assert await zombie.record(done("a"), sent=5) is None
    async with syncs.ledger.transaction() as connection:
        fence = zombie.claimed.fence
        assert await sync_parts.take(connection, zombie.claimed.id, fence) is None
    assert await part.keys() == ["a"]
    assert (await syncs.batch(sync.id))["objects"]["bytes_done"] == 0


async def test_what_a_killed_attempt_had_carried_by_half_counts_no_more(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b"))
    part = await sync.part(1)
    await part.record(done("a"), sent=17)
    await part.rests(0)
    part = await sync.part(1)

    assert (await syncs.batch(sync.id))["objects"]["bytes_done"] == 10
    assert await part.keys() == ["b"]


async def test_a_part_of_a_paused_batch_rests(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2))
    running = await sync.part(1)
    await syncs.rows("UPDATE ferryman.batches SET status = 'paused' WHERE id = :id", id=sync.id)

    orders = await running.record(done("a"))
    assert orders is not None
    assert (orders.paused, orders.cancelled) == (True, False)
    late = await sync.part(2)
    assert late.taken.status == "paused"
    assert (await syncs.batch(sync.id))["counts"]["waiting"] == 1


@pytest.mark.parametrize("cause", ["batch", "job", "parent"])
async def test_a_part_hears_that_it_is_to_stop(syncs: Syncs, cause: str) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b"))
    part = await sync.part(1)
    if cause == "batch":
        said = "UPDATE ferryman.batches SET status = 'cancelled' WHERE id = :id"
    elif cause == "job":
        said = "UPDATE ferryman.jobs SET cancel_at = now() WHERE batch_id = :id AND id <> :id"
    else:
        said = "UPDATE ferryman.jobs SET status = 'failed' WHERE id = :id"
    await syncs.rows(said, id=sync.id)

    orders = await part.record(done("a"))
    assert orders is not None
    assert (orders.paused, orders.cancelled) == (False, True)
    assert await part.keys() == ["b"]


async def test_bandwidth_is_shared_by_all_parts(syncs: Syncs) -> None:
    sync = await syncs.begin()
    async with syncs.ledger.transaction() as connection:
        assert await sync_parts.turn(connection, sync.id, 500) == 0.0
    await sync.do(sync_plan.begin, bandwidth=1000)
    waited = []
    for _ in range(3):
        async with syncs.ledger.transaction() as connection:
            waited.append(await sync_parts.turn(connection, sync.id, 500))
    assert waited[0] == 0.0
    assert waited[1] == pytest.approx(0.5, abs=0.2)
    assert waited[2] == pytest.approx(1.0, abs=0.2)


async def test_nothing_is_on_its_way_of_a_part_that_waits(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2))
    part = await sync.part(1)
    await part.ends("waiting", "rests", delay_seconds=300)

    counts = (await syncs.batch(sync.id))["counts"]
    assert (counts["waiting"], counts["sending"]) == (2, 0)
    # What has ended stays so.
    part = await sync.part(2)
    await part.fails()
    async with syncs.ledger.transaction() as connection:
        await write(connection, [{"sync_parts": [{"job_id": sync.parts[2], "status": "rests"}]}])
    assert (await syncs.batch(sync.id))["counts"]["failed"] == 1


# --- poison


async def kill(syncs: Syncs) -> dict[Any, str]:
    """The worker dies with all that it holds; another one takes its place."""
    await syncs.rows(
        "UPDATE ferryman.workers SET lease_until = now() - interval '1 s' WHERE id = :id",
        id=syncs.worker,
    )
    async with syncs.ledger.transaction() as connection:
        rescued = await workers.rescue(connection, max_crashes=3, overdue_seconds=30, looks={})
    await syncs.rows(
        "INSERT INTO ferryman.workers (id, name, lease_until) VALUES (:id, 'test', 'infinity')",
        id=syncs.worker,
    )
    return {row["id"]: row["status"] for row in rescued}


async def test_a_part_that_gets_on_is_no_poison(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(*[copy(key) for key in "abcde"])
    for key in "abcde":
        part = await sync.part(1)
        await syncs.mark(part.claimed, "transfer")
        assert await part.record(done(key))
        assert (await kill(syncs))[sync.parts[1]] == "waiting"

    assert (await syncs.batch(sync.id))["objects"]["copied"] == 5


@pytest.mark.parametrize(
    ("destination", "sent", "last"),
    # What has reached a bucket is gone on behind; in a folder a file begins anew.
    [("s3://bucket", 0, "unknown"), ("s3://bucket", 3, "waiting"), ("file:///b", 3, "unknown")],
)
async def test_bytes_are_progress_where_they_last(
    syncs: Syncs, destination: str, sent: int, last: str
) -> None:
    sync = await syncs.begin(source="s3://source", destination=destination)
    await sync.planned(copy("a"))
    fates = []
    for _ in range(3):
        part = await sync.part(1)
        await syncs.mark(part.claimed, "transfer")
        await part.record(sent=sent)
        fates.append((await kill(syncs))[sync.parts[1]])

    assert fates == ["waiting", "waiting", last]


async def test_what_a_poisonous_part_left_undone_has_failed(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    await sync.part(1)
    query = "UPDATE ferryman.jobs SET status = 'unknown' WHERE id = :id"
    await syncs.rows(query, id=sync.parts[1])
    async with syncs.ledger.transaction() as connection:
        await write(connection, [{"sync_parts": [{"job_id": sync.parts[1], "status": "unknown"}]}])
    assert await syncs.objects(sync.id) == {"a": "copy failed"}
    plan = await sync.do(sync_plan.begin)
    assert (plan.open_copies, plan.failed) == (0, 1)


# --- ends


async def test_what_a_part_left_undone_fails_with_it(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b"), copy("c", 2))
    part = await sync.part(1)
    await part.record(done("a"))
    await part.fails("no key")

    assert await syncs.objects(sync.id) == {
        "a": "copy done",
        "b": "copy failed",
        "c": "copy planned",
    }
    counts = (await syncs.batch(sync.id))["counts"]
    assert (counts["sent"], counts["failed"], counts["waiting"]) == (1, 1, 1)
    async with syncs.ledger.transaction() as connection:
        told = await sync_plan.left_out(connection, sync.id, 9)
    assert told == [{"key": "b", "reason": "no key"}]


async def test_what_a_cancelled_part_left_is_cancelled(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b"))
    part = await sync.part(1)
    await part.record(done("a"))
    await part.ends("cancelled", "cancelled")

    assert await syncs.objects(sync.id) == {"a": "copy done", "b": "copy cancelled"}
    counts = (await syncs.batch(sync.id))["counts"]
    assert (counts["sent"], counts["cancelled"]) == (1, 1)


async def test_a_sync_shows_that_it_runs_until_its_own_job_has_ended(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    part = await sync.part(1)
    await part.does()
    await part.ends()

    shown = await syncs.batch(sync.id)
    assert (shown["status"], shown["counts"]["sent"]) == ("running", 1)
    await syncs.close(sync.claimed, "succeeded", "syncs", "succeeded")
    shown = await syncs.batch(sync.id)
    assert (shown["status"], shown["finished_at"] is not None) == ("done", True)


async def test_the_end_of_a_sync_ends_its_parts(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2), copy("c", 4), delete("d", 3), deletes=[3])
    first, left = await sync.part(1), await sync.part(4)
    await syncs.mark(left.claimed, "transfer")
    await left.rests()
    await sync.fails()

    status = {n: (await syncs.job(job))["status"] for n, job in sync.parts.items()}
    assert status == {1: "running", 2: "cancelled", 3: "cancelled", 4: "waiting"}
    orders = await first.record()
    assert orders is not None
    assert orders.cancelled
    # What was left in the middle runs at once, to stop.
    again = await syncs.job(sync.parts[4])
    assert (again["cancel_at"] is not None, again["run_at"] <= datetime.now(UTC)) == (True, True)
    assert (await syncs.batch(sync.id))["status"] == "done"
    assert (await syncs.batch(sync.id))["counts"]["cancelled"] == 2


async def test_a_part_that_was_being_claimed_meanwhile_is_ended_later(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    async with syncs.ledger.transaction() as connection:
        lock = "SELECT FROM ferryman.jobs WHERE id = :id FOR UPDATE"
        await connection.execute(text(lock), {"id": sync.parts[1]})
        await sync.fails()
    assert (await syncs.job(sync.parts[1]))["status"] == "waiting"

    async with syncs.ledger.transaction() as connection:
        assert sync.id in await sync_parts.wake(connection)
    assert (await syncs.job(sync.parts[1]))["status"] == "cancelled"
    async with syncs.ledger.transaction() as connection:
        assert sync.id not in await sync_parts.wake(connection)


# --- the wake


async def test_the_last_part_wakes_the_sync(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2), delete("c", 3), deletes=[3])
    await sync.wait()
    for n in (1, 2):
        assert not await is_due(syncs, sync)
        part = await sync.part(n)
        await part.does()
        await part.ends()
    # Held parts are the sync's own business.
    assert await is_due(syncs, sync)


@pytest.mark.parametrize("end", ["fails", "cancelled", "unknown"])
async def test_however_it_ends(syncs: Syncs, end: str) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    await sync.wait()
    part = await sync.part(1)
    await (part.fails() if end == "fails" else part.ends(end, end))

    assert await is_due(syncs, sync)


async def test_a_part_that_waits_for_its_next_attempt_wakes_nobody(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    await sync.wait()
    part = await sync.part(1)
    await part.rests()

    assert not await is_due(syncs, sync)


async def test_a_part_that_ends_before_the_sync_waits_is_no_lost_wake(syncs: Syncs) -> None:
    """Between the sync's look and its close: the close itself looks once more."""
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    part = await sync.part(1)
    await sync.do(sync_plan.waits)
    await part.does()
    await part.ends()
    await sync.wait()

    assert await is_due(syncs, sync)


async def test_parts_that_close_together_wake_it(syncs: Syncs, database_url: str) -> None:
    """By two processes at the same moment; whoever commits last sees the other."""
    async with syncing(database_url) as other:
        for _ in range(10):
            sync = await syncs.begin()
            await sync.planned(copy("a"), copy("b", 2))
            await sync.wait()
            one, two = await sync.part(1), await sync.part(2)
            two.syncs = other
            await asyncio.gather(one.ends(), two.ends())
            assert await is_due(syncs, sync)


async def test_a_wake_that_was_missed_is_made_up_for(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    await sync.wait()
    part = await sync.part(1)
    async with syncs.ledger.transaction() as connection:
        # A person holds the sync just then.
        lock = "SELECT FROM ferryman.jobs WHERE id = :id FOR UPDATE"
        await connection.execute(text(lock), {"id": sync.id})
        await part.ends()
    assert not await is_due(syncs, sync)

    async with syncs.ledger.transaction() as connection:
        assert sync.id in await sync_parts.wake(connection)
    assert await is_due(syncs, sync)


async def test_a_sync_that_is_told_once_waits_for_what_else_keeps_it(syncs: Syncs) -> None:
    """Its vendor's breaker, say: it must not run in a circle."""
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    await sync.wait()
    part = await sync.part(1)
    await part.ends()
    assert await is_due(syncs, sync)
    claimed = await syncs.claim(sync.id)
    await syncs.close(claimed, "waiting", "syncs", "waits", delay_seconds=30, answered=())

    async with syncs.ledger.transaction() as connection:
        await sync_parts.wake(connection)
    assert not await is_due(syncs, sync)


# --- sent again


async def again(syncs: Syncs, *, sync: Sync, part: int | None = None) -> None:
    """As `tasks/_settle.py` does it: the job itself, then what its kind has to write."""
    job, table, status = (
        (sync.id, "syncs", "again") if part is None else (sync.parts[part], "sync_parts", "waiting")
    )
    async with syncs.ledger.transaction() as connection:
        assert await settle.again(connection, [job], fresh=True) == [job]
        await write(connection, [{table: [{"job_id": job, "status": status}]}])


async def test_a_sync_sent_again_sends_only_what_failed(syncs: Syncs) -> None:
    sync = await syncs.begin()
    replaced = copy("b", target_etag="t", target_digests={"md5": "x"})
    rows = [copy("a"), replaced, copy("c", 2), delete("d", 3)]
    await sync.planned(*rows, deletes=[3])
    good, bad = await sync.part(2), await sync.part(1)
    await good.does()
    await good.ends()
    await bad.record(done("a"), {"key": "b", "action": "copy", "outcome": "failed"})
    await bad.fails()
    await sync.fails()
    assert (await syncs.objects(sync.id))["d"] == "delete cancelled"

    await again(syncs, sync=sync)
    plan = await sync.again()
    assert (plan.planned, plan.failed, plan.open_copies, plan.held_copies) == (True, 0, 1, 0)
    assert (plan.open_deletes, plan.held_deletes) == (1, 1)
    assert await syncs.objects(sync.id) == {
        # Whatever stands at the destination by now is looked at.
        **{"a": "copy done", "b": "compare planned", "c": "copy done"},
        "d": "delete planned",
    }
    counts = (await syncs.batch(sync.id))["counts"]
    assert (counts["sent"], counts["waiting"], counts["failed"]) == (2, 2, 0)
    part = await sync.part(1)
    async with syncs.ledger.transaction() as connection:
        (row,) = await sync_parts.rows(connection, part.taken, "", 9)
    assert (row["key"], row["target_etag"], row["target_digests"]) == ("b", None, None)


@pytest.mark.parametrize("cause", ["refused", "limit"])
async def test_a_sync_of_which_nothing_failed_is_planned_anew(syncs: Syncs, cause: str) -> None:
    sync = await syncs.begin()
    rows = [copy("a"), refused("b")] if cause == "refused" else [copy("a"), delete("b")]
    await sync.planned(*rows, deletes=[2])
    part = await sync.part(1)
    await part.does()
    await part.ends()
    await sync.fails()

    await again(syncs, sync=sync)
    plan = await sync.again()
    assert (plan.planned, plan.cursor, plan.total, plan.parts) == (False, "", 0, 0)
    assert (plan.surplus, plan.refused, plan.targets) == (0, 0, 0)
    assert await syncs.objects(sync.id) == {}
    assert (await syncs.batch(sync.id))["status"] == "running"
    await sync.planned(copy("a"))
    assert (await sync.part(1)).taken.failed == 0


async def test_a_plan_that_failed_goes_on_where_it_was(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.segment([copy("a"), copy("b", 2)], held=[2])
    await sync.fails()
    assert (await sync.syncs.batch(sync.id))["counts"]["cancelled"] == 2

    await again(syncs, sync=sync)
    plan = await sync.again()
    assert (plan.planned, plan.cursor, plan.open_copies, plan.held_copies) == (False, "b", 2, 1)
    assert (await syncs.job(sync.parts[2]))["run_at"].year == 9000


async def test_a_part_sent_again_takes_its_sync_along(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2), delete("c", 3), deletes=[3])
    for n in (1, 2):
        await (await sync.part(n)).fails()
    await sync.fails()

    await again(syncs, sync=sync, part=1)
    plan = await sync.again()
    assert (plan.open_copies, plan.failed, plan.held_deletes) == (1, 1, 1)
    assert await syncs.objects(sync.id) == {
        "a": "compare planned",
        "b": "copy failed",
        "c": "delete planned",
    }


async def test_a_part_sent_again_while_its_sync_waits_brings_nothing_else_back(
    syncs: Syncs,
) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2), copy("c", 3))
    await sync.wait()
    await (await sync.part(1)).fails()
    await (await sync.part(2)).ends("cancelled", "cancelled")
    await again(syncs, sync=sync, part=1)

    assert (await syncs.job(sync.parts[2]))["status"] == "cancelled"
    assert (await syncs.job(sync.id))["status"] == "waiting"
    assert not await is_due(syncs, sync)


# --- everybody at once


async def test_counts_sum_at_every_look_whoever_acts(syncs: Syncs) -> None:
    """Parts that go side by side, in any order, with failures: no deadlock, no count lost."""
    chance = random.Random(7)
    sync = await syncs.begin()
    rows = [copy(f"{n:03}", 1 + n // 5) for n in range(100)]
    await sync.planned(*rows)
    await sync.wait()

    async def goes(number: int) -> None:
        part = await sync.part(number)
        for key in await part.keys():
            outcome = chance.choice(["done", "done", "failed"])
            assert await part.record({"key": key, "action": "copy", "outcome": outcome}, sent=1)
        await part.ends()

    async def looks() -> None:
        for _ in range(10):
            await syncs.batch(sync.id)
            async with syncs.ledger.transaction() as connection:
                await sync_parts.wake(connection)

    await asyncio.gather(looks(), *(goes(number) for number in sync.parts))

    assert await is_due(syncs, sync)
    shown = await syncs.batch(sync.id)
    objects = list((await syncs.objects(sync.id)).values())
    assert shown["counts"]["sent"] == objects.count("copy done")
    assert shown["counts"]["failed"] == objects.count("copy failed")
    assert shown["objects"]["bytes_done"] == 100
