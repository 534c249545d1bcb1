"""Objects that go in parts: on after a kill, never half old and half new, and nothing left over."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from adapters._base import Call, NotSent, Refused, Request, Response, Unavailable
from adapters._http import Client
from adapters._storage import (
    AS_THE_BUCKET,
    SHA256,
    Expect,
    Manner,
    Piece,
    Placed,
    Stored,
    Upload,
    upload_gone,
)
from adapters.s3 import Adapter
from ferryman.policies import policy
from models import multiparts
from tasks._base import Wait
from tasks._ends import Entry
from tasks._folder import Folder
from tests import moto
from tests.tasks.driver import driving
from tests.tasks.syncs import Syncs
from tests.tasks.trees import plant, tree

BUCKET, OTHER = "ferryman-large", "ferryman-large-too"
DESTINATION = f"s3://{BUCKET}/p"
# The least that S3 takes; with it three make an object that is too large for one request.
PART = 5 * 1024 * 1024
DATA = os.urandom(2 * PART + 1000)
CUT = NotSent("no connection to the vendor")


@dataclass(frozen=True)
class Checking:
    """The way to a server that compares a body with its signed SHA-256, as S3 does: moto does
    not."""

    call: Call
    refused: list[str]

    async def read(self, request: Request, *, credentials: Mapping[str, str]) -> Response:
        signed = credentials["X-Amz-Content-SHA256"]
        if signed != hashlib.sha256(request.body).hexdigest():
            self.refused.append(request.method)
            body = b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>"
            return Response(400, {}, body)
        return await self.call.read(request, credentials=credentials)


class Scripted(Adapter):
    """The real one, but for what is done before a request in `before`, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[..., Any]] = {}
        self.after: dict[str, Callable[..., Any]] = {}
        self.parts: list[int] = []
        self.one, self.two = asyncio.Event(), asyncio.Event()
        self.puts = 0
        self.refused: list[str] = []

    async def put(self, *args: Any, **more: Any) -> Placed:
        self.puts += 1
        return await super().put(*args, **more)

    def part_bytes(self, size: int) -> int:
        return PART

    async def begin(
        self,
        call: Call,
        bucket: str,
        key: str,
        size: int,
        attributes: Mapping[str, str],
        *,
        expect: Expect,
        manner: Manner = AS_THE_BUCKET,
        digests: Mapping[str, str] | None = None,
    ) -> Upload:
        begun = await super().begin(
            call, bucket, key, size, attributes, expect=expect, manner=manner, digests=digests
        )
        await self._do(self.after, "begin")
        return begun

    async def part(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        number: int,
        offset: int,
        size: int,
        data: bytes,
        *,
        sha256: str | None = None,
    ) -> str | Placed:
        await self._do(self.before, "part", number)
        where = call, bucket, upload, number, offset, size
        tag = await super().part(*where, data, sha256=sha256)
        self.parts.append(number)
        self.one.set()
        if len(self.parts) == 2:
            self.two.set()
        return tag

    async def _ask(self, call: Call, *args: Any) -> Response:
        return await super()._ask(cast(Call, Checking(call, self.refused)), *args)

    async def finish(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        tags: Mapping[int, str],
        *,
        expect: Expect,
    ) -> Placed:
        await self._do(self.before, "finish")
        placed = await super().finish(call, bucket, upload, tags, expect=expect)
        await self._do(self.after, "finish")
        return placed

    async def get(
        self, call: Call, bucket: str, stored: Stored, span: tuple[int, int] | None = None
    ) -> Piece:
        await self._do(self.before, "get", span)
        return await super().get(call, bucket, stored, span)

    async def _do(self, script: dict[str, Callable[..., Any]], name: str, *args: Any) -> None:
        if (act := script.get(name)) is not None and (waits := act(*args)) is not None:
            await waits


class Larges(Syncs):
    """Syncs into a bucket of moto, whose adapter can be told to fail."""

    server: str
    s3: Any
    adapter: Scripted

    def holds(self, bucket: str = BUCKET) -> dict[str, bytes]:
        return moto.holds(self.server, bucket)

    def unfinished(self) -> list[str]:
        found = self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
        return [one["Key"] for one in found]

    async def statuses(self) -> list[str]:
        rows = await self.driver.rows(
            "SELECT status, upload_id FROM ferryman.multiparts WHERE job_id = :id"
            " ORDER BY begun_at",
            id=self.id,
        )
        # Who knows the id can write: it goes with the end.
        assert all((row["upload_id"] is None) == (row["status"] != "open") for row in rows)
        return [row["status"] for row in rows]

    async def bytes_done(self, part: Any) -> int:
        query = "SELECT bytes_done FROM ferryman.parts WHERE job_id = :id"
        (row,) = await self.driver.rows(query, id=part)
        return int(row["bytes_done"])

    async def part(self, source: str | Path, destination: str | Path, **options: Any) -> Any:
        """The sync has planned; the only part."""
        await self.begin(source, destination, **options)
        error = await self.attempt(self.id)
        assert isinstance(error, Wait), error
        (part,) = await self.due()
        return part


@pytest.fixture
async def sync(
    s3_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Larges]:
    for name, value in {**moto.ENVIRONMENT, "S3_BASE_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    moto.reset(s3_server)
    client = Client(policy("s3"))

    def nobody(_: Any) -> Any:
        raise AssertionError

    async with driving(database_url, nobody, lambda _: client) as driver:
        await driver.rows(
            "UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL"
        )
        await driver.rows("DELETE FROM ferryman.multiparts")
        made = Larges(driver, monkeypatch)
        made.server, made.s3, made.adapter = s3_server, moto.oracle(s3_server), Scripted()
        made.adapters["s3"] = made.adapter
        for bucket in (BUCKET, OTHER):
            made.s3.create_bucket(Bucket=bucket)
        yield made
    await client.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plant(tmp_path / "source", {"large": DATA})


def third_fails(adapter: Scripted) -> None:
    """The last part does not leave, once the others have arrived."""

    async def before(number: int) -> None:
        if number == 3:
            await asyncio.wait_for(adapter.two.wait(), 10)
            raise CUT

    adapter.before["part"] = before


async def test_it_goes_in_parts_and_is_proven_by_all_of_it(sync: Larges, source: Path) -> None:
    part = await sync.part(source, DESTINATION)

    assert await sync.attempt(part) is None

    assert sync.holds() == {"p/large": DATA}
    assert (sorted(sync.adapter.parts), sync.adapter.puts) == ([1, 2, 3], 0)
    found = sync.s3.head_object(Bucket=BUCKET, Key="p/large")
    row = (await sync.rows())["p/large"]
    assert row["etag"] == found["ETag"].strip('"')
    assert row["checksum"] == found["Metadata"][SHA256]
    assert (await sync.statuses(), sync.unfinished()) == (["done"], [])
    assert await sync.bytes_done(part) == len(DATA)


async def test_after_a_kill_only_the_parts_that_lack_are_sent(sync: Larges, source: Path) -> None:
    third_fails(sync.adapter)
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    assert (await sync.statuses(), sync.unfinished()) == (["open"], ["p/large"])
    assert sorted(sync.adapter.parts) == [1, 2]

    sync.adapter.before.clear()
    assert await sync.attempt(part) is None
    assert sorted(sync.adapter.parts) == [1, 2, 3]
    assert sync.holds() == {"p/large": DATA}
    assert (await sync.statuses(), sync.unfinished()) == (["done"], [])
    assert await sync.bytes_done(part) == len(DATA)


async def test_an_upload_that_was_not_on_record_yet_is_dropped(sync: Larges, source: Path) -> None:
    old = sync.s3.create_multipart_upload(Bucket=BUCKET, Key="p/larger")["UploadId"]

    def dies() -> None:
        raise CUT

    sync.adapter.after["begin"] = dies
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    assert sorted(sync.unfinished()) == ["p/large", "p/larger"]

    sync.adapter.after.clear()
    assert await sync.attempt(part) is None
    assert sync.holds() == {"p/large": DATA}
    assert (await sync.statuses(), sync.unfinished()) == (["aborted", "done"], ["p/larger"])
    sync.s3.abort_multipart_upload(Bucket=BUCKET, Key="p/larger", UploadId=old)


async def test_an_older_upload_of_somebody_else_to_the_same_key_stays(
    sync: Larges, source: Path
) -> None:
    sync.adapter.after["begin"] = fails_once(CUT)
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    # What is in the bucket is much older than our row.
    await sync.driver.rows(
        "UPDATE ferryman.multiparts SET begun_at = now() + interval '1 hour' WHERE job_id = :id",
        id=sync.id,
    )

    assert await sync.attempt(part) is None
    assert sync.unfinished() == ["p/large"]


def fails_once(error: Exception) -> Callable[[], None]:
    left = [error]

    def act() -> None:
        if left:
            raise left.pop()

    return act


async def test_another_content_begins_anew(sync: Larges, source: Path) -> None:
    third_fails(sync.adapter)
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    new = os.urandom(len(DATA))
    (source / "large").write_bytes(new)

    sync.adapter.before.clear()
    sync.adapter.parts.clear()
    assert await sync.attempt(part) is None
    assert sorted(sync.adapter.parts) == [1, 2, 3]
    assert sync.holds() == {"p/large": new}
    assert (await sync.statuses(), sync.unfinished()) == (["aborted", "done"], [])


async def test_an_upload_that_somebody_dropped_begins_anew(sync: Larges, source: Path) -> None:
    sync.adapter.before["finish"] = fails_once(upload_gone())
    part = await sync.part(source, DESTINATION)

    error = await sync.attempt(part)
    assert isinstance(error, Unavailable)
    assert error.code == "upload_gone"
    assert (await sync.rows())["p/large"]["outcome"] == "planned"

    assert await sync.attempt(part) is None
    assert sync.holds() == {"p/large": DATA}
    assert await sync.statuses() == ["aborted", "done"]


async def test_one_that_the_vendor_does_not_begin_is_looked_for_by_nobody(
    sync: Larges, source: Path
) -> None:
    sync.adapter.after["begin"] = fails_once(Refused("the vendor answered 400", status=400))
    part = await sync.part(source, DESTINATION)

    assert isinstance(await sync.attempt(part), Refused)
    assert await sync.statuses() == ["aborted"]


async def test_one_that_was_finished_in_another_run_is_proven_as_well(
    sync: Larges, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of Cloud Storage may be complete by the time that it is asked."""

    async def received(*_: Any) -> Placed:
        return Placed(None, None, {"sha256": "ab" * 32})

    third_fails(sync.adapter)
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    monkeypatch.setattr(sync.adapter, "received", received)

    error = await sync.attempt(part)
    assert isinstance(error, Unavailable)
    assert error.code == "checksum_mismatch"
    assert (await sync.rows())["p/large"]["outcome"] == "planned"


async def test_a_file_that_changes_on_its_way_is_never_complete(
    sync: Larges, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Folder.read
    left = [b"changed"]

    async def read(self: Folder, entry: Entry, span: tuple[int, int] | None = None) -> Piece:
        if span and span[0] == 2 * PART and left:
            await asyncio.wait_for(sync.adapter.one.wait(), 10)
            with (source / "large").open("r+b") as file:
                file.write(left.pop())
        return await real(self, entry, span)

    monkeypatch.setattr(Folder, "read", read)
    part = await sync.part(source, DESTINATION)

    # Of the first version a part had left; it is brought as it is now, all of it.
    assert await sync.attempt(part) is None
    assert sync.holds() == {"p/large": (source / "large").read_bytes()}
    assert (await sync.statuses(), sync.unfinished()) == (["aborted", "done"], [])
    assert await sync.bytes_done(part) == len(DATA)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_change_that_no_time_tells_of_is_refused_by_the_vendor(
    sync: Larges, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As a file may change whose pages are mapped into another's memory."""
    real = Folder.read
    left = [b"changed"]

    async def read(self: Folder, entry: Entry, span: tuple[int, int] | None = None) -> Piece:
        piece = await real(self, entry, span)
        if span and span[0] == (number - 1) * PART and left:
            return Piece(left.pop() + piece.data[7:])
        return piece

    monkeypatch.setattr(Folder, "read", read)
    part = await sync.part(source, DESTINATION)

    assert await sync.attempt(part) is None
    assert sync.adapter.refused == ["PUT"]
    assert sync.holds() == {"p/large": DATA}
    assert (await sync.statuses(), sync.unfinished()) == (["aborted", "done"], [])
    assert await sync.bytes_done(part) == len(DATA)


@pytest.mark.parametrize("sent", ["none", "some"])
async def test_an_upload_with_parts_of_another_size_is_gone_on_with(
    sync: Larges, source: Path, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    """As an earlier version of ferryman may have begun it: the sums of other parts say nothing."""

    def cut(number: int) -> None:
        raise CUT

    if sent == "some":
        third_fails(sync.adapter)
    else:
        sync.adapter.before["part"] = cut
    part = await sync.part(source, DESTINATION)
    assert await sync.attempt(part) is CUT
    monkeypatch.setattr(sync.adapter, "part_bytes", lambda _: PART + 1)

    sync.adapter.before.clear()
    assert await sync.attempt(part) is None
    assert (sync.holds(), sync.adapter.refused) == ({"p/large": DATA}, [])
    found = sync.s3.head_object(Bucket=BUCKET, Key="p/large")
    assert found["Metadata"][SHA256] == hashlib.sha256(DATA).hexdigest()
    assert await sync.statuses() == ["done"]


async def test_a_finish_whose_answer_was_lost_is_found_to_be_ours(
    sync: Larges, source: Path
) -> None:
    sync.adapter.after["finish"] = fails_once(Unavailable("cut", code="connection_lost"))
    part = await sync.part(source, DESTINATION)
    assert isinstance(await sync.attempt(part), Unavailable)

    assert await sync.attempt(part) is None
    assert sorted(sync.adapter.parts) == [1, 2, 3]
    assert (await sync.rows())["p/large"]["outcome"] == "done"
    assert await sync.bytes_done(part) == len(DATA)
    # The sync's own end drops what stayed on record.
    assert await sync.attempt(sync.id) is None
    assert await sync.statuses() == ["aborted"]


async def test_what_appears_at_the_target_meanwhile_is_not_overwritten(
    sync: Larges, source: Path
) -> None:
    def appears() -> None:
        sync.s3.put_object(Bucket=BUCKET, Key="p/large", Body=b"somebody's")

    sync.adapter.before["finish"] = appears
    part = await sync.part(source, DESTINATION)

    error = await sync.attempt(part)
    assert isinstance(error, Refused)
    assert sync.holds() == {"p/large": b"somebody's"}
    row = (await sync.rows())["p/large"]
    assert (row["outcome"], row["reason"]) == (
        "failed",
        "the destination changed since it was listed",
    )
    assert (await sync.statuses(), sync.unfinished()) == (["aborted"], [])


async def test_a_cancelled_sync_leaves_no_upload_behind(sync: Larges, source: Path) -> None:
    reached = asyncio.Event()

    async def waits() -> None:
        reached.set()
        await asyncio.Event().wait()

    sync.adapter.before["finish"] = waits
    part = await sync.part(source, DESTINATION)
    running = asyncio.create_task(sync.attempt(part))
    await reached.wait()
    await sync.driver.rows(
        "UPDATE ferryman.jobs SET cancel_at = now() WHERE batch_id = :id", id=sync.id
    )
    await running
    assert sync.unfinished() == ["p/large"]

    await sync.attempt(sync.id)
    assert (await sync.statuses(), sync.unfinished()) == (["aborted"], [])


async def test_a_later_sync_drops_what_an_ended_one_left(sync: Larges, source: Path) -> None:
    upload = sync.s3.create_multipart_upload(Bucket=BUCKET, Key="p/gone")["UploadId"]
    ended = multiparts.Multipart(
        id=sync.driver.runtime.heartbeat.lease.worker,
        job_id=sync.driver.runtime.heartbeat.lease.worker,
        key="p/gone",
        vendor="s3",
        bucket=BUCKET,
        target="p/gone",
        source="etag:x",
        size=1,
        part_bytes=1,
        upload_id=upload,
    )
    async with sync.driver.ledger.transaction() as connection:
        await multiparts.intend(connection, ended)

    await sync(source, DESTINATION)
    assert sync.unfinished() == []


async def test_a_large_object_lands_in_a_folder_whole_or_not_at_all(
    sync: Larges, tmp_path: Path
) -> None:
    sync.s3.put_object(Bucket=BUCKET, Key="p/good", Body=DATA)
    sync.s3.put_object(Bucket=BUCKET, Key="p/bad", Body=DATA, Metadata={SHA256: "ab" * 32})
    await sync.begin(DESTINATION, tmp_path / "target")
    assert isinstance(await sync.attempt(sync.id), Wait)

    errors = {type(await sync.attempt(part)) for part in await sync.due()}

    assert errors == {type(None), Unavailable}
    assert tree(tmp_path / "target") == {"good": DATA}


async def test_it_goes_from_bucket_to_bucket_through_us_where_the_vendor_cannot(
    sync: Larges, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(*_: Any, **__: Any) -> None:
        return None

    sync.s3.put_object(Bucket=BUCKET, Key="p/large", Body=DATA, ContentType="text/x-large")
    monkeypatch.setattr(sync.adapter, "copy", cannot)
    third_fails(sync.adapter)
    part = await sync.part(DESTINATION, f"s3://{OTHER}")
    assert await sync.attempt(part) is CUT

    sync.adapter.before.clear()
    assert await sync.attempt(part) is None
    assert sync.holds(OTHER) == {"large": DATA}
    found = sync.s3.head_object(Bucket=OTHER, Key="large")
    source = sync.s3.head_object(Bucket=BUCKET, Key="p/large")
    assert found["ContentType"] == "text/x-large"
    assert found["Metadata"]["ferryman-source-etag"] == source["ETag"].strip('"')
    assert sorted(sync.adapter.parts) == [1, 2, 3]


async def test_what_is_not_the_announced_content_is_never_complete_in_a_bucket(
    sync: Larges, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(*_: Any, **__: Any) -> None:
        return None

    sync.s3.put_object(Bucket=OTHER, Key="large", Body=DATA, Metadata={SHA256: "ab" * 32})
    monkeypatch.setattr(sync.adapter, "copy", cannot)
    part = await sync.part(f"s3://{OTHER}", DESTINATION)

    error = await sync.attempt(part)

    assert isinstance(error, Unavailable)
    assert error.code == "checksum_mismatch"
    # The last part waited for the proof of all.
    assert sorted(sync.adapter.parts) in ([], [1], [1, 2])
    assert (sync.holds(), sync.unfinished(), await sync.statuses()) == ({}, [], ["aborted"])
