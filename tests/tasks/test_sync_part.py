"""`sync_objects_part`: what a part does with its rows, and how it goes on after a kill."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from adapters._base import Call, Misconfigured, Refused, Unavailable, VendorError
from adapters._http import Client, HttpCall
from adapters._storage import (
    AS_THE_BUCKET,
    SHA256,
    Expect,
    Manner,
    Placed,
    Stored,
    target_changed,
)
from adapters.s3 import Adapter
from ferryman import locations
from ferryman.policies import policy
from models.walk import WRITERS
from tasks import _record
from tasks._base import Attempt, Refusal, Stopped, Wait
from tasks._bucket import BucketEnd
from tasks._places import place
from tasks.sync_objects import NotAll
from tests import moto
from tests.adapters.doubles import Notes
from tests.tasks.driver import driving
from tests.tasks.syncs import Syncs
from tests.tasks.trees import plant, tree
from worker.verdict import LeaseLost

BUCKET = "ferryman-parts"
DESTINATION = f"s3://{BUCKET}/p"
MANY = {f"{number:02}": b"%02d" % number for number in range(12)}


class Scripted(Adapter):
    """The real one, but for what `before` and `after` a write of a key do to it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[str], Any] = lambda key: None
        self.after: Callable[[str], Any] = lambda key: None
        self.puts: list[str] = []
        self.looks: list[str] = []

    async def put(
        self,
        call: Call,
        bucket: str,
        key: str,
        data: bytes,
        attributes: Mapping[str, str],
        *,
        expect: Expect,
        manner: Manner = AS_THE_BUCKET,
    ) -> Placed:
        self.puts.append(key)
        await _maybe(self.before(key))
        placed = await super().put(
            call, bucket, key, data, attributes, expect=expect, manner=manner
        )
        await _maybe(self.after(key))
        return placed

    async def look(self, call: Call, bucket: str, key: str) -> Stored | None:
        self.looks.append(key)
        return await super().look(call, bucket, key)


async def _maybe(done: Any) -> None:
    if done is not None:
        await done


class Parts(Syncs):
    """Syncs into one bucket of moto, whose adapter can be told to fail."""

    server: str
    s3: Any
    adapter: Scripted
    client: Client

    def put(self, key: str, data: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data, **more)

    def holds(self) -> dict[str, bytes]:
        return moto.holds(self.server, BUCKET)

    async def planned(
        self, source: str | Path, destination: str | Path, **options: Any
    ) -> list[Any]:
        """The sync has planned, and its parts wait."""
        await self.begin(source, destination, **options)
        assert isinstance(await self.attempt(self.id), Wait)
        return await self.due()

    async def one(self, source: str | Path, destination: str | Path, **options: Any) -> Any:
        (part,) = await self.planned(source, destination, **options)
        return part

    async def part(self, id: Any) -> dict[str, Any]:
        (row,) = await self.driver.rows("SELECT * FROM ferryman.parts WHERE job_id = :id", id=id)
        return row

    async def set(self, what: str, **values: Any) -> None:
        await self.driver.rows(what, **values)


@pytest.fixture
async def sync(
    s3_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Parts]:
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
        made = Parts(driver, monkeypatch)
        made.server, made.s3, made.adapter = s3_server, moto.oracle(s3_server), Scripted()
        made.adapters["s3"], made.client = made.adapter, client
        made.s3.create_bucket(Bucket=BUCKET)
        yield made
    await client.close()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return plant(tmp_path / "many", MANY)


# --- what a part does


async def test_each_object_is_sent_once_and_nothing_else_is_asked(sync: Parts, many: Path) -> None:
    part = await sync.one(many, DESTINATION)

    assert await sync.attempt(part) is None

    assert sync.holds() == {f"p/{key}": data for key, data in MANY.items()}
    assert len(sync.adapter.puts) == len(MANY)
    assert sync.adapter.looks == []
    row = (await sync.rows())["p/03"]
    found = sync.s3.head_object(Bucket=BUCKET, Key="p/03")
    assert (row["action"], row["outcome"], row["size"]) == ("copy", "done", 2)
    assert row["etag"] == found["ETag"].strip('"')
    assert row["checksum"] == found["Metadata"][SHA256]
    counts = await sync.part(part)
    assert (counts["status"], counts["done"], counts["bytes_done"]) == ("sent", 12, 24)


async def test_what_the_listing_proves_the_same_costs_no_request(sync: Parts, many: Path) -> None:
    await sync(many, DESTINATION)
    (many / "07").write_bytes(b"xx")
    sync.adapter.puts.clear()

    part = await sync.one(many, DESTINATION)
    assert await sync.attempt(part) is None

    # The one that differs is looked at, since an ETag need not be an MD5.
    assert (sync.adapter.puts, sync.adapter.looks) == (["p/07"], ["p/07"])
    actions = await sync.told("action")
    assert (actions.pop("p/07"), set(actions.values())) == ("copy", {"keep"})


async def test_an_etag_that_is_no_md5_is_no_proof_of_a_change(sync: Parts, many: Path) -> None:
    """As with a customer's key: only what we have written beside the object tells."""
    await sync(many, DESTINATION)
    sync.adapter.puts.clear()
    part = await sync.one(many, DESTINATION)
    await sync.set(
        "UPDATE ferryman.objects SET target_digests = jsonb_build_object('md5', repeat('ab', 16))"
        " WHERE job_id = :id",
        id=sync.id,
    )

    assert await sync.attempt(part) is None
    assert sync.adapter.puts == []
    assert set((await sync.told("action")).values()) == {"keep"}


async def test_what_changed_since_the_listing_is_not_overwritten(sync: Parts, many: Path) -> None:
    sync.put("p/03", b"old")
    part = await sync.one(many, DESTINATION)
    sync.put("p/03", b"somebody's")
    sync.put("p/04", b"somebody's too")

    error = await sync.attempt(part)

    assert isinstance(error, Refused)
    held = sync.holds()
    assert (held["p/03"], held["p/04"]) == (b"somebody's", b"somebody's too")
    rows = await sync.rows()
    for key in ("p/03", "p/04"):
        assert rows[key]["outcome"] == "failed"
        assert rows[key]["reason"] == "the destination changed since it was listed"
    counts = await sync.part(part)
    assert (counts["status"], counts["done"], counts["failed"]) == ("failed", 10, 2)


async def test_a_write_whose_answer_was_lost_is_found_to_be_ours(sync: Parts, many: Path) -> None:
    lost = {"p/03"}

    async def lose(key: str) -> None:
        # The server acted; what we hear is the answer to the repeat.
        if key in lost:
            lost.remove(key)
            raise target_changed(412)

    sync.adapter.after = lose
    part = await sync.one(many, DESTINATION)

    assert await sync.attempt(part) is None
    assert set((await sync.told()).values()) == {"done"}
    assert sync.adapter.looks == ["p/03"]


async def test_a_source_that_changed_since_the_listing_is_brought_as_it_is_now(
    sync: Parts, tmp_path: Path
) -> None:
    sync.put("p/a", b"old")
    sync.put("p/b", b"same")
    part = await sync.one(DESTINATION, tmp_path / "target")
    sync.put("p/a", b"the new one")

    assert await sync.attempt(part) is None
    assert tree(tmp_path / "target") == {"a": b"the new one", "b": b"same"}
    assert (await sync.rows())["p/a"]["size"] == 11


async def test_one_that_the_vendor_refuses_does_not_stop_the_others(
    sync: Parts, many: Path
) -> None:
    sync.adapter.before = failing({"p/07": Refused("the vendor answered 400", status=400)})
    with pytest.raises(NotAll):
        await sync(many, DESTINATION)
    told = await sync.told()
    assert (told.pop("p/07"), set(told.values())) == ("failed", {"done"})
    assert len(sync.holds()) == 11


async def test_an_error_that_passes_leaves_the_row_for_the_next_run(
    sync: Parts, many: Path
) -> None:
    sync.adapter.before = failing({"p/07": Unavailable("the vendor answered 503")})
    part = await sync.one(many, DESTINATION)

    assert isinstance(await sync.attempt(part), Unavailable)
    told = await sync.told()
    assert (told.pop("p/07"), set(told.values())) == ("planned", {"done"})

    sync.adapter.before = failing({})
    sync.adapter.puts.clear()
    assert await sync.attempt(part) is None
    assert sync.adapter.puts == ["p/07"]
    assert (await sync.part(part))["done"] == 12


def failing(errors: dict[str, VendorError]) -> Callable[[str], None]:
    def before(key: str) -> None:
        if error := errors.get(key) or errors.get("all"):
            raise error

    return before


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (Misconfigured("AWS_ACCESS_KEY_ID is not accepted"), policy("s3").concurrency),
        (Unavailable("the vendor answered 503"), 3 * policy("s3").concurrency),
    ],
)
async def test_what_concerns_every_object_ends_the_part_soon(
    sync: Parts, tmp_path: Path, error: VendorError, most: int
) -> None:
    source = plant(tmp_path / "source", {f"{number:03}": b"x" for number in range(100)})
    sync.adapter.before = failing({"all": error})
    part = await sync.one(source, DESTINATION)

    assert await sync.attempt(part) is error
    assert len(sync.adapter.puts) <= most
    assert (await sync.part(part))["status"] == "sending"


async def test_failures_between_successes_do_not_end_it(sync: Parts, tmp_path: Path) -> None:
    source = plant(tmp_path / "source", {f"{number:03}": b"x" for number in range(60)})
    passing = Unavailable("the vendor answered 503")
    sync.adapter.before = failing({f"p/{number:03}": passing for number in range(0, 60, 2)})
    part = await sync.one(source, DESTINATION)

    assert await sync.attempt(part) is passing
    assert len(sync.adapter.puts) == 60


@pytest.mark.parametrize(
    "error",
    [
        Refused("the object is archived, restore it first", code="archived", status=403),
        Unavailable("the content is not the announced one", code="checksum_mismatch"),
    ],
)
async def test_what_is_the_objects_own_keeps_no_other_from_its_turn(
    sync: Parts, tmp_path: Path, error: VendorError
) -> None:
    source = plant(tmp_path / "source", {f"{number:03}": b"x" for number in range(60)})
    sync.adapter.before = failing({f"p/{number:03}": error for number in range(50)})
    part = await sync.one(source, DESTINATION)

    raised = await sync.attempt(part)
    assert len(sync.holds()) == 10
    told = list((await sync.told()).values())
    if isinstance(error, Refused):
        assert isinstance(raised, Refused)
        assert (told.count("failed"), told.count("done")) == (50, 10)
    else:
        assert raised is error
        assert (told.count("planned"), told.count("done")) == (50, 10)


async def test_a_listing_goes_on_behind_a_name_that_is_no_utf8(sync: Parts) -> None:
    for key in ("p/", "p/a", "p/b\u0301", "p/c"):
        sync.put(key, b"x")
    call = HttpCall("s3", sync.client, policy("s3"), Notes())
    end = BucketEnd(sync.adapter, call, locations.parse(DESTINATION), "source")

    async def keys(after: str = "") -> list[str]:
        return [entry.key async for page in end.entries(after) for entry in page]

    assert await keys() == ["", "a", "b\u0301", "c"]
    assert await keys("a") == ["b\u0301", "c"]
    # A file of the other end: it stands before what begins with a whole character there.
    assert await keys(os.fsdecode(b"b\xcc")) == ["b\u0301", "c"]
    assert await keys(os.fsdecode(b"b\xff")) == ["c"]
    assert await keys(os.fsdecode(b"\xff")) == []


async def test_what_was_done_before_the_end_is_on_record(sync: Parts, many: Path) -> None:
    wrong = Misconfigured("AWS_ACCESS_KEY_ID is not accepted")
    written = asyncio.Event()

    async def before(key: str) -> None:
        if key == "p/11":
            await written.wait()
            raise wrong

    async def after(key: str) -> None:
        if key == "p/00":
            written.set()

    sync.adapter.before, sync.adapter.after = before, after
    part = await sync.one(many, DESTINATION)

    assert await sync.attempt(part) is wrong
    assert (await sync.told())["p/00"] == "done"


async def test_a_cloud_that_no_vendor_keeps_is_refused() -> None:
    async def reach(scheme: str) -> Any:
        raise KeyError(scheme)

    attempt = cast(Attempt[Any], SimpleNamespace(reach=reach))
    with pytest.raises(Refusal, match="destination: ") as raised:
        await place(attempt, "destination", DESTINATION)
    assert raised.value.code == "not_supported"


# --- kills, orders


async def killed(sync: Parts, part: Any, key: str) -> None:
    """The part's worker dies when it has written that key, of which nothing is on record yet."""
    reached = asyncio.Event()
    forever = asyncio.Event()

    async def stop(written: str) -> None:
        if written == key:
            reached.set()
            await forever.wait()

    sync.adapter.after = stop
    begun = await sync.driver.claim(part)
    running = asyncio.create_task(begun.perform())
    await reached.wait()
    await _recorded(sync, part, len(MANY) - 1)
    # Its process is gone: neither it nor its record says anything any more.
    await sync.set(
        "UPDATE ferryman.jobs SET fence = fence + 1, status = 'waiting', run_at = now()"
        " WHERE id = :id",
        id=part,
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    sync.adapter.after = lambda _: None


async def _recorded(sync: Parts, part: Any, count: int) -> None:
    async with asyncio.timeout(5):
        while (await sync.part(part))["done"] < count:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.02)


async def test_a_killed_part_goes_on_with_what_is_not_on_record_and_looks_first(
    sync: Parts, many: Path
) -> None:
    part = await sync.one(many, DESTINATION)
    await killed(sync, part, "p/07")
    assert (await sync.rows())["p/07"]["outcome"] == "planned"
    sync.adapter.puts.clear()

    assert await sync.attempt(part) is None

    # It stood there: nothing was sent twice, and only this one was looked at.
    assert (sync.adapter.puts, sync.adapter.looks) == ([], ["p/07"])
    row = (await sync.rows())["p/07"]
    assert (row["action"], row["outcome"]) == ("copy", "done")
    assert row["checksum"]
    counts = await sync.part(part)
    assert (counts["done"], counts["bytes_done"], counts["bytes"]) == (12, 24, 24)


async def test_what_another_put_there_meanwhile_is_no_copy_of_ours(sync: Parts, many: Path) -> None:
    part = await sync.one(many, DESTINATION)
    await killed(sync, part, "p/07")
    sync.put("p/07", b"zz")

    assert isinstance(await sync.attempt(part), Refused)
    assert sync.holds()["p/07"] == b"zz"
    assert (await sync.told())["p/07"] == "failed"


async def test_sent_again_by_a_person_it_takes_what_stands_there_now_as_known(
    sync: Parts, many: Path
) -> None:
    sync.put("p/03", b"old")
    part = await sync.one(many, DESTINATION)
    sync.put("p/03", b"somebody's")
    assert isinstance(await sync.attempt(part), Refused)
    await sync.set(
        "UPDATE ferryman.jobs SET status = 'waiting', error = NULL, finished_at = NULL"
        " WHERE id = :id",
        id=part,
    )
    async with sync.driver.ledger.transaction() as connection:
        for statement in WRITERS["sync_parts"]:
            rows = f'[{{"job_id": "{part}", "status": "waiting"}}]'
            await connection.execute(statement, {"rows": rows})

    assert await sync.attempt(part) is None
    assert sync.holds()["p/03"] == MANY["03"]


async def running_part(sync: Parts, part: Any) -> tuple[asyncio.Task[Any], asyncio.Event]:
    """A part that is in the middle of a write."""
    reached = asyncio.Event()

    async def stop(key: str) -> None:
        if key == "p/07":
            reached.set()
            await asyncio.Event().wait()

    sync.adapter.before = stop
    running = asyncio.create_task(sync.attempt(part))
    await reached.wait()
    return running, reached


async def test_a_cancel_stops_a_running_part_at_once(sync: Parts, many: Path) -> None:
    part = await sync.one(many, DESTINATION)
    running, _ = await running_part(sync, part)
    await sync.set("UPDATE ferryman.jobs SET cancel_at = now() WHERE id = :id", id=part)

    async with asyncio.timeout(2 * _record.LINGER_SECONDS + 0.5):
        assert isinstance(await running, Stopped)
    told = await sync.told()
    assert (told.pop("p/07"), set(told.values())) == ("cancelled", {"done"})
    assert (await sync.part(part))["status"] == "cancelled"


async def test_a_pause_stops_it_and_leaves_the_rest_for_later(sync: Parts, many: Path) -> None:
    part = await sync.one(many, DESTINATION)
    running, _ = await running_part(sync, part)
    await sync.set("UPDATE ferryman.batches SET status = 'paused' WHERE id = :id", id=sync.id)

    async with asyncio.timeout(2 * _record.LINGER_SECONDS + 0.5):
        assert isinstance(await running, Wait)
    told = await sync.told()
    assert (told.pop("p/07"), set(told.values())) == ("planned", {"done"})
    assert (await sync.part(part))["status"] == "waiting"
    assert isinstance(await sync.attempt(part), Wait)

    await sync.set("UPDATE ferryman.batches SET status = 'running' WHERE id = :id", id=sync.id)
    sync.adapter.before = lambda _: None
    assert await sync.attempt(part) is None
    assert (await sync.part(part))["done"] == 12


async def test_who_has_lost_the_lease_stops_and_writes_nothing_any_more(
    sync: Parts, many: Path
) -> None:
    part = await sync.one(many, DESTINATION)
    begun = await sync.driver.claim(part)
    reached = asyncio.Event()

    async def stop(key: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    sync.adapter.after = stop
    running = asyncio.create_task(begun.perform())
    await reached.wait()
    await sync.set("UPDATE ferryman.jobs SET fence = fence + 1 WHERE id = :id", id=part)

    async with asyncio.timeout(2 * _record.LINGER_SECONDS + 0.5):
        with pytest.raises(LeaseLost):
            await running
    assert set((await sync.told()).values()) == {"planned"}


# --- dry runs, deletes, limits


async def test_a_dry_run_only_compares(sync: Parts, many: Path) -> None:
    await sync(many, DESTINATION)
    (many / "07").write_bytes(b"xx")
    sync.adapter.puts.clear()
    before = sync.holds()

    part = await sync.one(many, DESTINATION, dry_run=True)
    assert await sync.attempt(part) is None

    assert (sync.adapter.puts, sync.holds()) == ([], before)
    rows = await sync.rows()
    assert (rows["p/07"]["action"], rows["p/07"]["outcome"]) == ("copy", "planned")
    assert (rows["p/08"]["action"], rows["p/08"]["outcome"]) == ("keep", "done")


async def test_only_what_is_as_it_was_listed_is_deleted(sync: Parts, many: Path) -> None:
    for key in ("old", "older", "other"):
        sync.put(f"p/{key}", b"x")
    await sync.begin(many, DESTINATION, delete=True, force=True)
    assert isinstance(await sync.attempt(sync.id), Wait)
    await sync.parts()
    assert isinstance(await sync.attempt(sync.id), Wait)
    (part,) = await sync.due()
    sync.s3.delete_object(Bucket=BUCKET, Key="p/older")

    deleted: list[Mapping[str, VendorError]] = []
    real = sync.adapter.delete

    async def delete(call: Call, bucket: str, doomed: Any) -> Mapping[str, VendorError]:
        # moto knows no conditions here: what S3 would say of one that is another by now.
        rest = [one for one in doomed if one.key != "p/other"]
        assert all(one.etag for one in doomed)
        deleted.append({"p/other": target_changed(412), **await real(call, bucket, rest)})
        return deleted[-1]

    sync.adapter.delete = delete  # type: ignore[method-assign]
    assert isinstance(await sync.attempt(part), Refused)
    assert len(deleted) == 1
    assert {"p/other"} == {key for key in sync.holds() if key.startswith("p/o")}
    told = await sync.told()
    assert (told["p/old"], told["p/older"], told["p/other"]) == ("done", "done", "failed")


async def test_the_bandwidth_is_that_of_all_parts_together(
    sync: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plant(tmp_path / "source", {name: os.urandom(2048) for name in "abcd"})
    part = await sync.one(source, DESTINATION, bandwidth=16384)
    loop = asyncio.get_running_loop()
    began = loop.time()

    assert await sync.attempt(part) is None
    # Half a second's worth, of which the first lump goes at once.
    assert loop.time() - began >= 0.2
    async with sync.driver.ledger.transaction() as connection:
        query = text("SELECT next_at IS NOT NULL FROM ferryman.batches WHERE id = :id")
        assert await connection.scalar(query, {"id": sync.id})


async def test_an_object_that_is_not_the_announced_one_takes_no_place(
    sync: Parts, tmp_path: Path
) -> None:
    sync.put("p/good", b"x")
    sync.put("p/bad", b"x", Metadata={SHA256: "ab" * 32})
    for destination in (tmp_path / "target", f"s3://{BUCKET}/copy"):
        part = await sync.one(DESTINATION, destination)
        error = await sync.attempt(part)
        assert isinstance(error, Unavailable)
        assert error.code == "checksum_mismatch"
    assert tree(tmp_path / "target") == {"good": b"x"}
    assert {key for key in sync.holds() if key.startswith("copy")} == {"copy/good"}
