"""Uploads in parts are on record before the vendor has heard of them, and until they have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from models import multiparts
from models.multiparts import Multipart
from tests.models.syncs import Syncs, syncing


@pytest.fixture
async def syncs(database_url: str) -> AsyncIterator[Syncs]:
    async with syncing(database_url) as made:
        yield made


async def do(syncs: Syncs, name: str, *args: Any) -> Any:
    async with syncs.ledger.transaction() as connection:
        return await getattr(multiparts, name)(connection, *args)


async def intend(syncs: Syncs, sync: UUID, key: str = "a", **more: Any) -> Multipart:
    given = {"vendor": "s3", "bucket": f"b-{sync}", "target": f"in/{key}", "source": "etag:e"}
    made = Multipart(uuid7(), sync, key, **given | more, size=20, part_bytes=8)
    found: Multipart = await do(syncs, "intend", made)
    return found


async def test_one_is_on_record_from_the_wish_to_the_end(syncs: Syncs) -> None:
    sync = await syncs.enqueue()
    wish = await intend(syncs, sync)
    assert (wish.upload_id, wish.begun_at is not None) == (None, True)
    assert await do(syncs, "known", "s3", wish.bucket, "in/a") == set()

    await do(syncs, "begun", wish.id, "u-1")
    (begun,) = await do(syncs, "open_of", sync, "a")
    assert (begun.id, begun.upload_id, begun.source) == (wish.id, "u-1", "etag:e")
    assert await do(syncs, "known", "s3", wish.bucket, "in/a") == {"u-1"}

    await do(syncs, "ended", wish.id, "done")
    assert await do(syncs, "open_of", sync) == []
    row = await syncs.one("SELECT * FROM ferryman.multiparts WHERE id = :id", id=wish.id)
    # At Google an upload's id is as good as a key: it is kept no longer than it is needed.
    assert (row["status"], row["upload_id"], row["ended_at"] is not None) == ("done", None, True)


async def test_what_has_ended_stays_so(syncs: Syncs) -> None:
    wish = await intend(syncs, await syncs.enqueue())
    await do(syncs, "ended", wish.id, "aborted")
    await do(syncs, "begun", wish.id, "late")
    await do(syncs, "ended", wish.id, "done")

    row = await syncs.one("SELECT * FROM ferryman.multiparts WHERE id = :id", id=wish.id)
    assert (row["status"], row["upload_id"]) == ("aborted", None)


async def test_those_of_one_sync_and_of_one_object(syncs: Syncs) -> None:
    sync, other = await syncs.enqueue(), await syncs.enqueue()
    first, second = await intend(syncs, sync), await intend(syncs, sync, "b")
    third = await intend(syncs, sync)
    await intend(syncs, other)

    async def ids(*asked: Any) -> list[UUID]:
        return [one.id for one in await do(syncs, "open_of", *asked)]

    assert await ids(sync) == [first.id, second.id, third.id]
    assert await ids(sync, "a") == [first.id, third.id]


@pytest.mark.parametrize(
    ("status", "stray"),
    [
        *(("waiting", False), ("running", False), ("unknown", False)),
        *(("succeeded", True), ("failed", True), ("cancelled", True), (None, True)),
    ],
)
async def test_strays_are_those_whose_sync_has_ended(
    syncs: Syncs, status: str | None, stray: bool
) -> None:
    sync = await syncs.enqueue()
    wish = await intend(syncs, sync)
    if status is None:
        await syncs.rows("DELETE FROM ferryman.jobs WHERE id = :id", id=sync)
    else:
        query = "UPDATE ferryman.jobs SET status = :status WHERE id = :id"
        await syncs.rows(query, id=sync, status=status)

    found = await do(syncs, "strays", "s3", wish.bucket)
    assert [one.id for one in found] == ([wish.id] if stray else [])
    assert await do(syncs, "strays", "gcs", wish.bucket) == []
    assert await do(syncs, "strays", "s3", "another") == []
