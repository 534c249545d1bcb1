"""The plan of a sync: what is decided about each key, how it is cut, and where it goes on."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from adapters._base import Unavailable
from adapters._storage import PART_BYTES
from ferryman.requests import SyncObjects
from models import sync_plan
from models.sync_plan import Plan, Planned, Segment
from tasks import _plan_sync, sync_objects
from tasks._base import Refusal, Stopped, Wait
from tasks._ends import Entry
from tasks._filters import Filter
from tasks._plan_sync import FIRST_KEYS, MOST_KEYS, Planner, Rules, plan
from tests.tasks.driver import driving
from tests.tasks.listings import Listed, keys, numbered
from tests.tasks.syncs import Syncs
from worker.verdict import LeaseLost

SOAK = os.environ.get("CHAOS") == "1"
NONE: dict[str, Any] = dict.fromkeys(Plan.__dataclass_fields__, 0)
NOTHING = Plan(**NONE | {"status": "running", "cursor": ""})
SMALL = {"size": 500, "most_bytes": 1 << 28}


def rules(**changes: Any) -> Rules:
    plain: dict[str, Any] = {"filter": Filter(), "name": lambda key: key, "bucket": "b", **SMALL}
    return Rules(**plain | changes)


class Kept:
    """Keeps segments as the ledger would, and proves that one goes on where the last one ended."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.stops_after = 0

    async def __call__(self, made: Segment) -> Plan:
        assert made.after == (self.segments[-1].last if self.segments else "")
        self.segments.append(made)
        stops = len(self.segments) == self.stops_after
        return replace(NOTHING, cursor=made.last, cancel_asked=stops)

    @property
    def rows(self) -> list[Planned]:
        return [row for made in self.segments for row in made.rows]

    def actions(self) -> dict[str, str]:
        return {row.key: row.action for row in self.rows}


async def planned(source: Any, target: Any, **changes: Any) -> Kept:
    kept = Kept()
    await plan(source, target, rules(**changes), NOTHING, kept)
    return kept


def decided(source: Entry | None, target: Entry | None, **changes: Any) -> list[Planned]:
    planner = Planner(rules(**changes), NOTHING)
    planner.add(source, target)
    return list(planner.segment().rows)


# --- one key


def entry(size: int = 1, **known: Any) -> Entry:
    return Entry("k", size, **known)


MD5, OTHER = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("source", "target", "compare", "action"),
    [
        (entry(), None, None, "copy"),
        (entry(), entry(size=2), None, "copy"),
        (entry(), entry(size=2), "size", "copy"),
        (entry(), entry(), None, "compare"),
        (entry(), entry(), "checksum", "compare"),
        (entry(), entry(), "size", "keep"),
        (entry(digests={"md5": MD5}), entry(digests={"md5": MD5}), None, "keep"),
        (entry(digests={"md5": MD5}), entry(digests={"md5": MD5}), "checksum", "keep"),
        (entry(digests={"md5": MD5}), entry(digests={"md5": OTHER}), None, "compare"),
        (entry(digests={"md5": MD5}), entry(digests={"crc32c": "01"}), None, "compare"),
    ],
)
def test_what_the_listings_tell_is_decided_at_once(
    source: Entry, target: Entry | None, compare: str | None, action: str
) -> None:
    (row,) = decided(source, target, compare=compare)
    assert row.action == action
    assert (row.outcome, row.part) == (("done", None) if action == "keep" else ("planned", 1))


def test_a_row_has_what_its_part_needs_to_know() -> None:
    source = entry(etag="s", version="1", path="elsewhere", digests={"md5": MD5})
    target = entry(etag="t", version="2", attributes={"ferryman-sha256": "ab", "Other": "x"})

    (row,) = decided(source, target, name=lambda key: f"p/{key}", folder=True)

    assert (row.key, row.bucket, row.size, row.path) == ("p/k", "b", 1, "elsewhere")
    assert (row.source_etag, row.source_version) == ("s", "1")
    assert (row.target_etag, row.target_version) == ("t", "2")
    assert (row.digests, row.target_digests) == ({"md5": MD5}, {"ferryman-sha256": "ab"})
    assert row.fold is not None
    assert decided(source, None)[0].fold is None


@pytest.mark.parametrize("key", ["../up", "/abs", "a//b", "back\\slash", "nul\0", "caf\udce9"])
def test_a_hostile_key_is_refused_at_either_end_and_can_be_stored(key: str) -> None:
    for ends in ((Entry(key, 1), None), (Entry(key, 1), Entry(key, 1)), (None, Entry(key, 1))):
        (row,) = decided(*ends, delete=True)
        assert (row.action, row.outcome, row.part) == ("refuse", "refused", None)
        assert row.reason
        row.key.replace("\0", "!").encode()


def test_what_either_end_cannot_carry_over_is_refused() -> None:
    for ends in ((entry(problem="no"), None), (entry(), entry(problem="no"))):
        (row,) = decided(*ends)
        assert (row.action, row.reason) == ("refuse", "no")


def test_surplus_is_deleted_only_on_request() -> None:
    assert decided(None, entry()) == []
    (row,) = decided(None, entry(size=3, etag="t", version="2"), delete=True)
    assert (row.action, row.outcome, row.size) == ("delete", "planned", 3)
    assert (row.target_etag, row.target_version) == ("t", "2")


async def test_what_is_filtered_out_is_not_there_at_either_end() -> None:
    source = Listed(keys("a.txt", "a.bin", "both.bin"))
    target = Listed(keys("both.bin", "old.bin", "old.txt"))

    kept = await planned(source, target, filter=Filter(exclude=["*.bin"]), delete=True)

    assert kept.actions() == {"a.txt": "copy", "old.txt": "delete"}
    assert sum(made.targets for made in kept.segments) == 1
    assert sum(made.surplus for made in kept.segments) == 1


def test_an_unreadable_folder_counts_unless_all_of_it_is_left_out() -> None:
    only = {"filter": Filter(include=["*.txt"], exclude=["out/"])}
    (row,) = decided(Entry("closed/", problem="it cannot be read"), None, **only)
    assert row.action == "refuse"
    assert decided(Entry("out/", problem="it cannot be read"), None, **only) == []
    assert decided(Entry("closed/", 1), None, **only) == []


async def test_a_dry_run_gives_parts_only_what_has_to_be_looked_into() -> None:
    source, target = Listed(keys("new", "same")), Listed(keys("old", "same"))

    kept = await planned(source, target, dry_run=True, delete=True)

    assert {row.key: row.part for row in kept.rows} == {"new": None, "same": 1, "old": None}
    assert [part.action for made in kept.segments for part in made.parts] == ["copy"]


@pytest.mark.parametrize(
    ("surplus", "targets", "options", "may"),
    [
        (10, 100, {}, True),
        (11, 100, {}, False),
        (1, 5, {}, False),
        (0, 0, {}, True),
        (15, 100, {"max_delete": 15}, True),
        (16, 100, {"max_delete": 15}, False),
        (1, 10**6, {"max_delete": 0}, False),
        (0, 10**6, {"max_delete": 0}, True),
        (100, 100, {"max_delete": 100}, True),
        (100, 100, {"force": True}, True),
    ],
)
def test_how_much_may_be_deleted(
    surplus: int, targets: int, options: dict[str, Any], may: bool
) -> None:
    asked = SyncObjects(source="s3://a-source", destination="s3://a-target", delete=True, **options)
    now = replace(NOTHING, surplus=surplus, targets=targets)
    with nullcontext() if may else pytest.raises(Refusal, match=r"^delete: "):
        sync_objects.limit_deletes(asked, now)


# --- cutting


async def test_the_merge_meets_each_key_once_and_in_order() -> None:
    names = ["a", "a b", "a-b", "a.txt", "a/b", "a/b/c", "aa", "b", "ü", "\U0001f600", "￮"]
    ours, theirs = {*names[::2], *names[:4]}, {*names[1::2]}

    kept = await planned(
        Listed(keys(*ours), page=2), Listed(keys(*theirs, size=2), page=3), delete=True
    )

    assert [row.key for row in kept.rows] == sorted(names, key=str.encode)
    assert {row.key for row in kept.rows if row.action == "delete"} == theirs - ours


async def test_an_object_named_as_its_prefix_is_refused_and_passed() -> None:
    kept = await planned(Listed(keys("", "a"), prefix="p/"), Listed(keys()))
    assert kept.actions() == {"": "refuse", "a": "copy"}
    kept = await planned(Listed(keys("")), Listed(keys()))
    assert kept.segments[-1].last


async def test_parts_are_small_and_a_large_object_has_one_of_its_own() -> None:
    sizes = {"a": 40, "b": 50, "c": PART_BYTES + 1, "d": 20, "e": 1, "f": 1, "g": 1, "h": 1}
    source = Listed(lambda: [Entry(key, size) for key, size in sizes.items()])
    target = Listed(keys("x", "y", "z", "zz"))

    kept = await planned(source, target, size=3, most_bytes=100, delete=True)

    (made,) = kept.segments
    parts = [[row.key for row in made.rows if row.part == part.part] for part in made.parts]
    assert parts == [["a", "b"], ["c"], ["d", "e", "f"], ["g", "h"], ["x", "y", "z"], ["zz"]]
    assert [part.part for part in made.parts] == [1, 2, 3, 4, 5, 6]
    assert [part.held for part in made.parts] == [False] * 4 + [True] * 2


async def test_copies_into_a_folder_wait_for_the_whole_plan() -> None:
    kept = await planned(Listed(keys("a")), Listed(keys(), place="file"), folder=True)
    assert [part.held for made in kept.segments for part in made.parts] == [True]


async def test_the_first_segment_is_short_and_none_is_long() -> None:
    count = FIRST_KEYS + MOST_KEYS + 7
    kept = await planned(Listed(numbered(count)), Listed(keys()))

    assert [len(made.rows) for made in kept.segments] == [FIRST_KEYS, MOST_KEYS, 7]
    assert Counter(row.key for row in kept.rows).most_common(1)[0][1] == 1
    numbers = [part.part for made in kept.segments for part in made.parts]
    assert numbers == list(range(1, len(numbers) + 1))
    for made in kept.segments:
        own = {part.part for part in made.parts}
        assert {row.part for row in made.rows} == own


async def test_keys_of_which_nothing_is_to_be_done_move_the_cursor_too() -> None:
    kept = await planned(Listed(keys()), Listed(numbered(FIRST_KEYS + 3)))
    assert [(made.last, len(made.rows)) for made in kept.segments] == [
        (f"{FIRST_KEYS - 1:07}", 0),
        (f"{FIRST_KEYS + 2:07}", 0),
    ]


async def test_what_a_slow_listing_has_told_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_plan_sync, "MOST_SECONDS", 0.0)
    kept = await planned(Listed(keys("a", "b")), Listed(keys()))
    assert [made.last for made in kept.segments] == ["a", "b"]


async def test_a_plan_that_is_to_stop_lists_no_further() -> None:
    source = Listed(numbered(10 * MOST_KEYS))
    kept = Kept()
    kept.stops_after = 1

    now = await plan(source, Listed(keys()), rules(), NOTHING, kept)

    assert now.stopping
    assert len(kept.segments) == 1
    assert source.given <= FIRST_KEYS + 300


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
async def test_an_end_that_is_not_listed_in_order_is_no_end(
    side: str, names: tuple[str, str]
) -> None:
    """Else what the source lists too late would look like surplus."""
    wrong, right = Listed(lambda: [Entry(name, 1) for name in names]), Listed(keys("z"))
    ends = (wrong, right) if side == "source" else (right, wrong)

    with pytest.raises(Refusal, match=f"^{side}: ") as raised:
        await planned(*ends, delete=True)
    assert raised.value.code == "not_supported"


async def _memory(count: int) -> int:
    """Bytes that a plan of so many keys has needed at its most."""
    source = Listed(numbered(count, but=lambda n: n % 10 == 0), page=250)
    target = Listed(numbered(count, but=lambda n: n % 10 == 1), page=250)
    ahead = 0

    async def store(made: Segment) -> Plan:
        nonlocal ahead
        ahead = max(ahead, source.given - int(made.last), target.given - int(made.last))
        return NOTHING

    tracemalloc.start()
    await plan(source, target, rules(delete=True), NOTHING, store)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.given == target.given == count - count // 10
    assert ahead <= 750
    return most


async def test_memory_depends_on_a_segment_and_not_on_the_number_of_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_plan_sync, "MOST_KEYS", 1000)
    counts = (30_000, 120_000) if SOAK else (3_000, 12_000)
    few, many = [await _memory(count) for count in counts]
    assert many < 1.2 * few
    assert many < 6 << 20


# --- in the ledger: killed, gone on with


class Planning:
    """Runs of the job over scripted ends; its parts are left alone."""

    def __init__(self, syncs: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = syncs
        self.swept = 0
        self.source = self.target = Listed(keys())
        monkeypatch.setattr(sync_objects, "place", self._place)
        monkeypatch.setattr(sync_objects, "Uploads", self._uploads)

    async def begin(
        self, source: Listed, target: Listed, to: str = "s3://a-target", **options: Any
    ) -> None:
        self.source, self.target = source, target
        await self.syncs.begin("s3://a-source", to, **options)

    async def run(self) -> BaseException | None:
        return await self.syncs.attempt(self.syncs.id)

    async def rows(self) -> dict[str, dict[str, Any]]:
        return await self.syncs.rows()

    async def of_batch(self) -> dict[str, Any]:
        (row,) = await self.syncs.driver.rows(
            "SELECT * FROM ferryman.batches WHERE id = :id", id=self.syncs.id
        )
        return row

    async def parts(self) -> list[dict[str, Any]]:
        return await self.syncs.driver.rows(
            "SELECT p.*, j.run_at FROM ferryman.parts p JOIN ferryman.jobs j ON j.id = p.job_id"
            " WHERE p.batch_id = :id ORDER BY p.part",
            id=self.syncs.id,
        )

    def _uploads(self, *_: object) -> Planning:
        return self

    async def sweep(self) -> None:
        self.swept += 1

    async def _place(self, _: Any, side: str, __: str) -> Listed:
        return self.source if side == "source" else self.target


@pytest.fixture
async def planning(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Planning]:
    async with driving(database_url, lambda _: Unavailable("not here")) as driver:
        await driver.rows(
            "UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL"
        )
        yield Planning(Syncs(driver, monkeypatch), monkeypatch)


COUNT = FIRST_KEYS + 1200


def _source(**more: Any) -> Listed:
    return Listed(numbered(COUNT, but=lambda n: n % 100 == 0), **more)


def _target(**more: Any) -> Listed:
    return Listed(numbered(COUNT, but=lambda n: n % 100 == 1, size=2), **more)


async def test_a_plan_is_on_record_with_its_parts(planning: Planning) -> None:
    await planning.begin(_source(), _target(), delete=True)

    assert isinstance(await planning.run(), Wait)

    rows, parts, batch = await planning.rows(), await planning.parts(), await planning.of_batch()
    surplus = COUNT // 100
    assert Counter(row["action"] for row in rows.values()) == {
        "copy": COUNT - surplus,
        "delete": surplus,
    }
    assert (batch["total"], batch["targets"], batch["surplus"]) == (COUNT, COUNT - surplus, surplus)
    assert batch["planned_at"]
    assert sum(part["size"] for part in parts) == COUNT
    for part in parts:
        own = [key for key, row in rows.items() if row["part"] == part["part"]]
        assert (part["first_key"], part["last_key"]) == (min(own), max(own))
        assert (part["size"], part["held"]) == (len(own), part["action"] == "delete")
        assert (part["run_at"].year == 9000) == part["held"]
    shown = await planning.syncs.batch()
    assert (shown["status"], shown["counts"]["waiting"]) == ("running", COUNT)


async def test_a_listing_that_fails_is_gone_on_with_where_it_had_come_to(
    planning: Planning,
) -> None:
    def fail(given: int) -> None:
        if given >= 900:
            raise Unavailable("the vendor answered 503")

    await planning.begin(_source(at=fail), _target())
    assert isinstance(await planning.run(), Unavailable)
    cursor = (await planning.of_batch())["cursor"]
    done = await planning.rows()
    assert 0 < len(done) < 900
    first = await planning.parts()
    planning.source.at = lambda _: None

    assert isinstance(await planning.run(), Wait)

    assert planning.source.asked == planning.target.asked == ["", cursor]
    rows = await planning.rows()
    assert len(rows) == COUNT - COUNT // 100
    assert {key: rows[key]["at"] for key in done} == {key: done[key]["at"] for key in done}
    parts = await planning.parts()
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert [part["job_id"] for part in parts][: len(first)] == [part["job_id"] for part in first]
    batch = await planning.of_batch()
    assert (batch["total"], batch["targets"]) == (len(rows), COUNT - COUNT // 100)


async def test_a_killed_plan_goes_on_and_the_killed_one_writes_no_more(
    planning: Planning,
) -> None:
    """The worker hangs in a listing; its job is taken over; then it wakes up."""
    stuck, go_on = asyncio.Event(), asyncio.Event()

    class Hanging(Listed):
        async def entries(self, after: str = "") -> AsyncIterator[Any]:
            async for page in super().entries(after):
                if self.given >= 900 and not stuck.is_set():
                    stuck.set()
                    await go_on.wait()
                yield page

    hanging = Hanging(_source()._entries)
    await planning.begin(hanging, _target(), delete=True)
    zombie = asyncio.create_task(planning.run())
    await stuck.wait()
    await planning.syncs.driver.rows(
        "UPDATE ferryman.jobs SET status = 'waiting', worker_id = NULL WHERE id = :id",
        id=planning.syncs.id,
    )

    assert isinstance(await planning.run(), Wait)
    planned_once = await planning.rows(), await planning.parts(), await planning.of_batch()
    go_on.set()
    with pytest.raises(LeaseLost):
        await zombie

    assert len(planned_once[0]) == COUNT
    assert planned_once == (
        await planning.rows(),
        await planning.parts(),
        await planning.of_batch(),
    )


async def test_a_run_that_dies_over_the_plans_end_ends_it_again(
    planning: Planning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between each two of its last steps; the clash is told once."""
    steps = ["clashes", "planned", "release", "waits"]
    ends = Listed(keys("a", "A", "b")), Listed(keys(), place="file")
    await planning.begin(*ends, to="file:///a-target")
    for step in steps:
        with monkeypatch.context() as patched:
            patched.setattr(sync_plan, step, _dies)
            assert isinstance(await planning.run(), Unavailable)

    assert isinstance(await planning.run(), Wait)

    assert {key: row["outcome"] for key, row in (await planning.rows()).items()} == {
        **dict.fromkeys(("a", "A"), "refused"),
        "b": "planned",
    }
    (part,) = await planning.parts()
    assert (part["size"], part["held"], part["status"]) == (1, False, "waiting")
    batch = await planning.syncs.batch()
    assert (batch["total"], batch["counts"]["invalid"]) == (3, 2)
    assert len(planning.source.asked) == 3


async def _dies(*_: object) -> None:
    raise Unavailable("the worker died")


async def test_keys_that_no_column_can_hold_are_a_place_to_go_on_from(planning: Planning) -> None:
    names = [f"caf\udce9{n:03}" for n in range(FIRST_KEYS)]

    def fail(given: int) -> None:
        if given >= FIRST_KEYS:
            raise Unavailable("the vendor answered 503")

    await planning.begin(Listed(keys(*names, "z", "\U0001f600"), at=fail), Listed(keys()))
    assert isinstance(await planning.run(), Unavailable)
    planning.source.at = lambda _: None
    assert isinstance(await planning.run(), Wait)

    assert planning.source.asked == ["", names[-1]]
    told = Counter(row["outcome"] for row in (await planning.rows()).values())
    assert told == {"refused": FIRST_KEYS, "planned": 2}


async def test_a_plan_that_nobody_wants_any_more_stops_and_takes_its_parts_along(
    planning: Planning,
) -> None:
    source = _source()
    await planning.begin(source, _target(), delete=True)
    job_id = planning.syncs.id
    cancel = "UPDATE ferryman.jobs SET cancel_at = now() WHERE id = :id"

    class Cancelled(Listed):
        async def entries(self, after: str = "") -> AsyncIterator[Any]:
            async for page in super().entries(after):
                if self.given == 300:
                    await planning.syncs.driver.rows(cancel, id=job_id)
                yield page

    planning.source = Cancelled(source._entries)
    assert isinstance(await planning.run(), Stopped)

    job = await planning.syncs.job(job_id)
    assert job is not None
    assert job["status"] == "cancelled"
    assert len(await planning.rows()) == FIRST_KEYS
    assert {row["outcome"] for row in (await planning.rows()).values()} == {"cancelled"}
    assert {part["status"] for part in await planning.parts()} == {"cancelled"}
    assert await planning.syncs.due() == []
    assert planning.swept == 1


@pytest.mark.timeout(600)
async def test_a_million_keys_are_planned_in_bounded_memory(planning: Planning) -> None:
    """Fewer here; with CHAOS=1 the million, of which the process grows by less than 64 MiB."""
    count = 1_000_000 if SOAK else 2 * MOST_KEYS
    await planning.begin(Listed(numbered(count), page=1000), Listed(keys()))
    before = _most_kib()

    assert isinstance(await planning.run(), Wait)

    assert _most_kib() - before < 64 << 10
    (found,) = await planning.syncs.driver.rows(
        "SELECT count(*) AS n FROM ferryman.objects WHERE job_id = :id", id=planning.syncs.id
    )
    assert found["n"] == (await planning.of_batch())["total"] == count


def _most_kib() -> int:
    """The most memory that this process has had. macOS tells bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most
