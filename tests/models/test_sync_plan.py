"""A sync's plan: in segments with a cursor, cut into parts, held and released, always counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models import sync_plan, sync_segment
from models.sync_plan import Counts, Planned, Segment
from tests.models.syncs import Syncs, copy, delete, kept, refused, syncing


@pytest.fixture
async def syncs(database_url: str) -> AsyncIterator[Syncs]:
    async with syncing(database_url) as made:
        yield made


async def test_a_sync_is_a_batch_from_the_start(syncs: Syncs) -> None:
    sync_id = await syncs.enqueue()

    assert (await syncs.job(sync_id))["batch_id"] == sync_id
    shown = await syncs.batch(sync_id)
    assert (shown["kind"], shown["status"], shown["total"]) == ("sync_objects", "running", 0)
    query = "SELECT ferryman.result(j) AS r FROM ferryman.jobs j WHERE id = :id"
    row = await syncs.one(query, id=sync_id)
    assert row["r"] == {"batch_id": str(sync_id), "total": 0, "counts": shown["counts"]}


async def test_one_of_an_earlier_version_gets_its_batch_and_loses_its_rows(syncs: Syncs) -> None:
    sync_id = await syncs.enqueue()
    await syncs.rows("DELETE FROM ferryman.batches WHERE id = :id", id=sync_id)
    await syncs.rows("UPDATE ferryman.jobs SET batch_id = NULL WHERE id = :id", id=sync_id)
    await syncs.rows(
        "INSERT INTO ferryman.objects (job_id, key, action, outcome)"
        " VALUES (:id, 'a', 'copy', 'planned')",
        id=sync_id,
    )
    claimed = await syncs.claim(sync_id)
    async with syncs.ledger.transaction() as connection:
        assert await sync_plan.begin(connection, sync_id, claimed.fence, bandwidth=7) is not None

    assert (await syncs.job(sync_id))["batch_id"] == sync_id
    assert await syncs.objects(sync_id) == {}
    row = await syncs.one("SELECT bandwidth FROM ferryman.batches WHERE id = :id", id=sync_id)
    assert row == {"bandwidth": 7}


async def test_a_segment_adds_up(syncs: Syncs) -> None:
    sync = await syncs.begin()
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    first = copy("a", source_etag="e", digests={"md5": "x"}, last_modified=moment)
    await sync.segment([first, copy("b", size=20), kept("c"), refused("d")])
    plan = await sync.segment([copy("e", 2, action="compare"), delete("f", 3)], deletes=[3])

    assert (plan.total, plan.kept, plan.refused, plan.surplus) == (6, 1, 1, 1)
    assert (plan.targets, plan.parts, plan.cursor, plan.planned) == (18, 3, "f", False)
    assert (plan.open_copies, plan.held_copies) == (2, 0)
    assert (plan.open_deletes, plan.held_deletes) == (1, 1)
    shown = await syncs.batch(sync.id)
    assert (shown["total"], shown["counts"]["waiting"], shown["counts"]["invalid"]) == (6, 4, 1)
    assert shown["objects"]["bytes"] == 40
    row = await syncs.one(
        "SELECT * FROM ferryman.objects WHERE job_id = :id AND key = 'a'", id=sync.id
    )
    assert (row["digests"], row["last_modified"], row["part"]) == ({"md5": "x"}, moment, 1)


async def test_parts_begin_at_once_but_for_the_held_ones(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.segment([copy("a"), copy("b", 2), delete("c", 3)], held=[2], deletes=[3])

    jobs = {
        row["part"]: row
        for row in await syncs.rows(
            "SELECT p.part, p.size, p.first_key, j.* FROM ferryman.jobs j"
            " JOIN ferryman.parts p ON p.job_id = j.id WHERE j.batch_id = :id",
            id=sync.id,
        )
    }
    assert jobs[1]["args"] == {"sync": str(sync.id), "part": 1}
    assert (jobs[1]["kind"], jobs[1]["vendor"]) == ("sync_objects_part", "s3")
    assert (jobs[1]["size"], jobs[1]["first_key"]) == (1, "a")
    late = {part for part, row in jobs.items() if row["run_at"].year == 9000}
    assert late == {2, 3}
    # None is ever late by itself: its sync has begun.
    assert {(row["due_at"].year, row["expires_at"]) for row in jobs.values()} == {(9000, None)}


async def test_the_same_segment_twice_is_written_once(syncs: Syncs) -> None:
    sync = await syncs.begin()
    made = sync.cut([copy("a")])
    await sync.do(sync_plan.segment, made)
    plan = await sync.do(sync_plan.segment, made)

    assert (plan.total, plan.parts) == (1, 1)


@pytest.mark.parametrize("cursor", ["a b/ü%20", "tab\tnull\0", "no utf-8: \udcff", "\\x", "%"])
async def test_the_next_attempt_finds_any_cursor(syncs: Syncs, cursor: str) -> None:
    sync = await syncs.begin()
    await sync.do(sync_plan.segment, Segment("", cursor, [], []))
    plan = await sync.do(sync_plan.begin)
    assert plan.cursor == cursor
    plan = await sync.do(sync_plan.segment, Segment(cursor, "z", [copy("a", None)], []))
    assert (plan.cursor, plan.total) == ("z", 1)


async def test_who_does_not_hold_the_job_writes_nothing(syncs: Syncs) -> None:
    sync = await syncs.begin()
    made = sync.cut([copy("a")])
    async with syncs.ledger.transaction() as connection:
        old = (connection, sync.id, sync.claimed.fence - 1)
        assert await sync_plan.begin(*old) is None
        assert await sync_plan.segment(*old, made) is None
        assert await sync_plan.planned(*old) is None
        assert await sync_plan.clashes(*old) is None
        assert await sync_plan.release(*old, "copy") is None
        assert await sync_plan.drop(*old, None, "no") is None
        assert await sync_plan.waits(*old) is None

    assert await syncs.objects(sync.id) == {}
    shown = await syncs.batch(sync.id)
    assert shown["planned_at"] is None


async def test_a_segment_makes_up_for_crashes(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await syncs.rows("UPDATE ferryman.jobs SET crashes = 2 WHERE id = :id", id=sync.id)
    await sync.segment([copy("a")])

    assert (await syncs.job(sync.id))["crashes"] == 0


async def test_nothing_is_added_to_a_cancelled_batch(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await syncs.rows("UPDATE ferryman.batches SET status = 'cancelled' WHERE id = :id", id=sync.id)
    plan = await sync.segment([copy("a")])

    assert plan.stopping
    assert (plan.total, await syncs.objects(sync.id)) == (0, {})


async def test_the_parts_of_a_paused_batch_wait_for_it(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await syncs.rows("UPDATE ferryman.batches SET status = 'paused' WHERE id = :id", id=sync.id)
    plan = await sync.segment([copy("a"), copy("b", 2)], held=[2])

    assert (plan.status, plan.stopping) == ("paused", False)
    for part in (1, 2):
        assert (await syncs.job(sync.parts[part]))["run_at"].year == 9000
    await sync.do(sync_plan.release, "copy")
    assert (await syncs.job(sync.parts[2]))["reason"] == "its batch is paused"
    assert (await syncs.job(sync.parts[2]))["run_at"].year == 9000


async def test_names_that_clash_are_refused_with_each_other(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.segment(
        [
            copy("README", fold=1),
            kept("Readme", fold=1),
            copy("a", fold=2),
            kept("b", fold=3),
            copy("c", 2, fold=4),
            refused("C:", fold=4),
            copy("no fold", 2),
            delete("readme", 3),
        ],
        held=[1, 2],
        deletes=[3],
    )
    plan = await sync.do(sync_plan.clashes)
    again = await sync.do(sync_plan.clashes)

    assert plan == again
    assert (plan.total, plan.refused, plan.kept) == (8, 4, 1)
    objects = await syncs.objects(sync.id)
    clashed = {key for key, said in objects.items() if said == "refuse refused"}
    assert clashed == {"README", "Readme", "c", "C:"}
    assert objects["readme"] == "delete planned"
    shown = await syncs.batch(sync.id)
    assert (shown["counts"]["waiting"], shown["objects"]["bytes"]) == (3, 20)


async def test_held_parts_begin_by_action(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.segment([copy("a"), delete("b")], held=[1], deletes=[2])
    plan = await sync.do(sync_plan.release, "copy")

    assert (plan.open_copies, plan.held_copies) == (1, 0)
    assert (plan.open_deletes, plan.held_deletes) == (1, 1)
    first, second = await syncs.job(sync.parts[1]), await syncs.job(sync.parts[2])
    assert (first["run_at"].year < 9000, first["reason"]) == (True, None)
    assert second["run_at"].year == 9000
    assert (await sync.do(sync_plan.release, "delete")).held_deletes == 0
    assert (await syncs.job(sync.parts[2]))["run_at"].year < 9000


async def test_dropped_parts_are_over_with_their_objects(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), delete("b"), delete("c"), deletes=[2])
    plan = await sync.do(sync_plan.drop, "delete", "not all was copied")

    assert (plan.open_copies, plan.open_deletes, plan.cancelled) == (1, 0, 2)
    assert (await syncs.job(sync.parts[2]))["status"] == "cancelled"
    objects = await syncs.objects(sync.id)
    assert objects == {"a": "copy planned", "b": "delete cancelled", "c": "delete cancelled"}
    row = await syncs.one(
        "SELECT reason FROM ferryman.objects WHERE job_id = :id AND key = 'b'", id=sync.id
    )
    assert row == {"reason": "not all was copied"}
    shown = await syncs.batch(sync.id)
    assert (shown["counts"]["cancelled"], shown["status"]) == (2, "running")


async def test_what_runs_is_asked_to_stop(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"), copy("b", 2))
    part = await sync.part(1)
    plan = await sync.do(sync_plan.drop, None, "no more")

    assert (plan.open_copies, plan.cancelled) == (1, 1)
    orders = await part.record()
    assert orders is not None
    assert orders.cancelled


async def test_a_part_left_in_the_middle_runs_once_more_to_stop(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(copy("a"))
    part = await sync.part(1)
    await syncs.mark(part.claimed, "transfer")
    await part.rests()
    await sync.do(sync_plan.drop, None, "no more")

    job = await syncs.job(sync.parts[1])
    assert (job["status"], job["cancel_at"] is not None) == ("waiting", True)
    assert job["run_at"] <= datetime.now(UTC)


async def test_a_dry_run_counts_what_no_part_looks_into(syncs: Syncs) -> None:
    sync = await syncs.begin(dry_run=True)
    gone = Planned("d", "delete", "planned", size=1)
    await sync.planned(copy("a", None), copy("b", 1, action="compare"), kept("c"), gone)
    counts = (await syncs.batch(sync.id))["counts"]

    assert (counts["sent"], counts["waiting"], counts["kept"]) == (2, 1, 1)
    part = await sync.part(1)
    assert part.taken.dry_run
    assert await part.record({"key": "b", "action": "copy", "outcome": "planned"})
    assert await part.record({"key": "b", "action": "copy", "outcome": "planned"})
    assert await part.keys() == []
    await part.ends()
    assert (await syncs.batch(sync.id))["counts"]["sent"] == 3
    async with syncs.ledger.transaction() as connection:
        counted = await sync_plan.counts(connection, sync.id)
    assert counted == Counts(copied=2, kept=1, deleted=1, refused=0, failed=0, bytes=20)


async def test_what_was_left_out_is_told_in_order(syncs: Syncs) -> None:
    sync = await syncs.begin()
    await sync.planned(refused("b"), copy("a"), refused("ü"), refused("Z"))
    async with syncs.ledger.transaction() as connection:
        told = await sync_plan.left_out(connection, sync.id, 2)

    assert told == [{"key": "Z", "reason": "no"}, {"key": "b", "reason": "no"}]


async def test_a_segment_of_many_small_and_large_parts_is_written_at_once(syncs: Syncs) -> None:
    sync = await syncs.begin()
    rows = [copy(f"{n:06}", 1 + n // 2) for n in range(4000)]
    plan = await sync.segment(rows)

    assert (plan.total, plan.parts, plan.open_copies) == (4000, 2000, 2000)
    part = await sync.part(2000)
    assert await part.keys() == ["003998", "003999"]


async def test_a_person_and_a_segment_wait_for_each_other_in_one_order(syncs: Syncs) -> None:
    """Both take the sync's job before its batch: no ring, whoever comes first."""
    sync = await syncs.begin()
    hold = text("SELECT FROM ferryman.jobs WHERE batch_id = :id ORDER BY id FOR UPDATE")
    lock = text("SELECT FROM ferryman.batches WHERE id = :id FOR UPDATE")

    async def person() -> None:
        async with syncs.ledger.transaction() as connection:
            await connection.execute(hold, {"id": sync.id})
            await asyncio.sleep(0)
            await connection.execute(lock, {"id": sync.id})

    for n in range(5):
        made = sync.cut([copy(f"{n}", n + 1)])
        await asyncio.gather(person(), sync.do(sync_plan.segment, made))
    assert sync.plan.total == 5


async def test_parts_close_while_a_segment_is_written(
    syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take long: the batch is not locked before its end."""
    sync = await syncs.begin()
    await sync.segment([copy("a")])
    part = await sync.part(1)
    copies = sync_segment.copy

    async def meanwhile(connection: AsyncConnection, job: UUID, rows: Iterable[Planned]) -> None:
        await copies(connection, job, rows)
        async with asyncio.timeout(5):
            assert await part.ends()

    monkeypatch.setattr(sync_segment, "copy", meanwhile)
    await sync.segment([copy("b", 2)])

    shown = await syncs.batch(sync.id)
    assert (shown["total"], shown["counts"]["sent"], shown["counts"]["waiting"]) == (2, 1, 1)
