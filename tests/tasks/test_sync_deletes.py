"""`sync_objects`: what it deletes and when, and what else may be asked of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters._base import Refused, Unavailable, VendorError
from ferryman.policies import Policy, policy
from tasks import _batch, _settle
from tasks._base import Refusal, Stopped, Wait
from tasks._bucket import BucketEnd
from tasks.sync_objects import NotAll
from tests.tasks.syncs import BUCKET, OTHER, TREE, Flaky, S3Syncs, s3_syncs
from tests.tasks.trees import plant, tree
from worker import execution


@pytest.fixture
async def sync(
    s3_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[S3Syncs]:
    async with s3_syncs(s3_server, database_url, monkeypatch) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plant(tmp_path / "source", TREE)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return plant(tmp_path / "many", {f"{number:02}": b"x" for number in range(18)})


# --- dry runs and deletes


async def test_a_dry_run_plans_and_writes_nothing(
    sync: S3Syncs, source: Path, tmp_path: Path
) -> None:
    for key in ("a.txt", "empty", "old"):
        sync.put(key, b"a" if key == "a.txt" else b"other")

    done = await sync(source, f"s3://{BUCKET}", dry_run=True)

    counts = {name: done.result[name] for name in ("copied", "kept", "deleted", "dry_run")}
    assert counts == {"copied": 5, "kept": 1, "deleted": 0, "dry_run": True}
    assert set(sync.holds()) == {"a.txt", "empty", "old"}
    assert sync.holds()["empty"] == b"other"
    told = await sync.told()
    assert (told.pop("a.txt"), set(told.values())) == ("done", {"planned"})
    assert sync.journal.left == []

    await sync(f"s3://{BUCKET}", tmp_path / "target", dry_run=True)
    assert not (tmp_path / "target").exists()


async def test_surplus_objects_stay_unless_told_otherwise(sync: S3Syncs, source: Path) -> None:
    sync.put("old", b"x")

    await sync(source, f"s3://{BUCKET}")

    assert sync.holds() == {**TREE, "old": b"x"}
    assert "old" not in await sync.told()


async def test_surplus_objects_are_deleted_within_the_limit(sync: S3Syncs, many: Path) -> None:
    await sync(many, f"s3://{BUCKET}/p")
    for key in ("p/old", "p/older/still", "elsewhere"):
        sync.put(key, b"x")

    done = await sync(many, f"s3://{BUCKET}/p", delete=True)

    assert set(sync.holds()) == {*(f"p/{number:02}" for number in range(18)), "elsewhere"}
    assert (done.result["deleted"], done.result["kept"]) == (2, 18)
    row = (await sync.rows())["p/old"]
    assert (row["action"], row["outcome"], row["size"]) == ("delete", "done", 1)
    kinds = "SELECT action, status, done FROM ferryman.parts WHERE batch_id = :id"
    assert {"action": "delete", "status": "sent", "done": 2} in await sync.driver.rows(
        kinds, id=sync.id
    )


async def test_surplus_files_are_deleted_too(sync: S3Syncs, many: Path) -> None:
    await sync(many, f"s3://{BUCKET}/p")
    plant(many, {"sub/old": b"x"})

    done = await sync(f"s3://{BUCKET}/p", many, delete=True)

    assert done.result["deleted"] == 1
    assert len(tree(many)) == 18


async def test_a_dry_run_plans_deletes_within_the_limit(sync: S3Syncs, many: Path) -> None:
    await sync(many, f"s3://{BUCKET}")
    for key in ("old", "older"):
        sync.put(key, b"x")

    done = await sync(many, f"s3://{BUCKET}", delete=True, dry_run=True)

    assert (done.result["deleted"], done.result["kept"]) == (2, 18)
    row = (await sync.rows())["old"]
    assert (row["action"], row["outcome"]) == ("delete", "planned")
    assert len(sync.holds()) == 20


@pytest.mark.parametrize("dry_run", [False, True])
async def test_more_than_the_limit_is_never_deleted(
    sync: S3Syncs, many: Path, dry_run: bool
) -> None:
    await sync(many, f"s3://{BUCKET}")
    for number in range(3):
        sync.put(f"old{number}", b"x")
    plant(many, {"new": b"n"})

    with pytest.raises(Refusal, match=r"^delete: 3 of the destination's 21 objects") as raised:
        await sync(many, f"s3://{BUCKET}", delete=True, dry_run=dry_run)

    assert raised.value.code == "delete_limit"
    assert len(sync.holds()) == 18 + 3 + (not dry_run)
    assert sync.methods("DELETE") == 0


async def test_nothing_is_deleted_when_something_was_left_out(sync: S3Syncs, many: Path) -> None:
    await sync(many, f"s3://{BUCKET}")
    sync.put("link", b"what the link now stands for")
    (many / "link").symlink_to("/etc/passwd")
    sync.put("old", b"x")

    with pytest.raises(NotAll):
        await sync(many, f"s3://{BUCKET}", delete=True)
    assert {"link", "old"} <= set(sync.holds())


@pytest.mark.parametrize(("surplus", "options"), [(3, {"max_delete": 15}), (18, {"force": True})])
async def test_more_is_deleted_only_when_that_is_asked_for(
    sync: S3Syncs, many: Path, surplus: int, options: dict[str, Any]
) -> None:
    for number in range(18):
        sync.put(f"{number:02}", b"x")
    for number in range(surplus):
        sync.put(f"old{number:02}", b"x")
    with pytest.raises(Refusal, match=f"{surplus} of the destination's {18 + surplus}"):
        await sync(many, f"s3://{BUCKET}", delete=True)
    assert len(sync.holds()) == 18 + surplus
    assert {row["outcome"] for row in (await sync.rows()).values()} == {"done", "cancelled"}
    assert (await sync.batch())["counts"]["cancelled"] == surplus

    done = await sync(many, f"s3://{BUCKET}", delete=True, **options)

    assert done.result["deleted"] == surplus
    assert sync.holds() == tree(many)


async def test_nothing_is_deleted_before_all_is_copied(
    sync: S3Syncs, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "policy", small_parts)
    sync.put("old", b"x")
    await sync.begin(many, f"s3://{BUCKET}", delete=True, force=True)
    assert isinstance(await sync.attempt(sync.id), Wait)
    copies = await sync.due()
    assert len(copies) == 3
    for step in (_batch.pause, _batch.resume):
        async with sync.driver.ledger.transaction() as connection:
            await step(connection, sync.id, who="a test")
    assert await sync.due() == copies

    for part in copies:
        assert isinstance(await sync.attempt(sync.id), Wait)
        assert "old" in sync.holds()
        assert await sync.attempt(part) is None
    assert sync.holds() == {**tree(many), "old": b"x"}
    assert (await sync.go_on()).result["deleted"] == 1
    assert sync.holds() == tree(many)


def small_parts(vendor: str) -> Policy:
    return policy(vendor).model_copy(update={"batch_size": 7})


async def test_a_part_that_a_person_gave_up_keeps_what_is_to_be_deleted(
    sync: S3Syncs, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "policy", small_parts)
    sync.put("old", b"x")
    await sync.begin(many, f"s3://{BUCKET}", delete=True, force=True)
    assert isinstance(await sync.attempt(sync.id), Wait)
    given_up = (await sync.due())[0]
    async with sync.driver.ledger.transaction() as connection:
        await _settle.cancel(connection, given_up, who="a test")

    with pytest.raises(NotAll, match="7 were cancelled; the others were copied"):
        await sync.go_on()
    assert len(sync.holds()) == 12
    assert (await sync.told())["old"] == "cancelled"


async def test_what_failed_is_sent_again_and_only_then_is_the_rest_deleted(
    sync: S3Syncs, many: Path
) -> None:
    flaky = sync.uses(Flaky(**{"07": Refused("the vendor answered 400", status=400)}))
    sync.put("old", b"x")
    with pytest.raises(NotAll):
        await sync(many, f"s3://{BUCKET}", delete=True, force=True)
    assert "old" in sync.holds()
    flaky.fails = {}
    before = flaky.puts

    async with sync.driver.ledger.transaction() as connection:
        await _settle.retry(connection, sync.id, who="a test")
    done = await sync.go_on()

    assert flaky.puts == before + 1
    assert (done.result["copied"], done.result["deleted"], done.result["failed"]) == (18, 1, 0)
    assert sync.holds() == tree(many)
    assert (await sync.batch())["counts"]["sent"] == 19


async def test_a_sync_that_wanted_to_delete_too_much_plans_anew(sync: S3Syncs, many: Path) -> None:
    for number in range(3):
        sync.put(f"old{number}", b"x")
    with pytest.raises(Refusal):
        await sync(many, f"s3://{BUCKET}", delete=True)
    plant(many, {"old1": b"x", "old2": b"x"})

    async with sync.driver.ledger.transaction() as connection:
        await _settle.retry(connection, sync.id, who="a test")
    done = await sync.go_on()

    assert (done.result["copied"], done.result["kept"], done.result["deleted"]) == (0, 20, 1)
    assert sync.holds() == tree(many)


async def test_a_cancelled_sync_takes_its_parts_along(
    sync: S3Syncs, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "policy", small_parts)
    await sync.begin(many, f"s3://{BUCKET}", delete=True)
    assert isinstance(await sync.attempt(sync.id), Wait)
    assert await sync.attempt((await sync.due())[0]) is None
    async with sync.driver.ledger.transaction() as connection:
        assert not await _settle.cancel(connection, sync.id, who="a test")

    with pytest.raises(Stopped):
        await sync.go_on()

    assert len(sync.holds()) == 7
    counts = (await sync.batch())["counts"]
    assert (counts["sent"], counts["cancelled"]) == (7, 11)
    assert sorted(await sync.told()) == sorted(tree(many))
    job = await sync.job(sync.id)
    assert job is not None
    assert job["status"] == "cancelled"


async def test_what_is_planned_does_not_need_its_source_any_more(sync: S3Syncs, many: Path) -> None:
    await sync.begin(many, f"s3://{BUCKET}")
    assert isinstance(await sync.attempt(sync.id), Wait)
    await sync.parts()
    lose(many)

    assert (await sync.go_on()).result["copied"] == 18


async def test_a_source_that_is_lost_while_it_is_listed_leaves_no_doubt(
    sync: S3Syncs, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.put("old", b"x")
    listing = Unavailable("the vendor answered 503")
    monkeypatch.setattr(BucketEnd, "entries", failing(listing))
    with pytest.raises(Unavailable):
        await sync(many, f"s3://{BUCKET}", delete=True)
    lose(many)

    with pytest.raises(Refusal):
        await sync.go_on()

    job = await sync.job(sync.id)
    assert job is not None
    assert (job["status"], job["error"]["code"]) == ("failed", "source_missing")


def lose(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def failing(error: VendorError) -> Callable[..., Any]:
    async def entries(*_: object) -> AsyncIterator[Any]:
        raise error
        yield

    return entries


# --- what is asked for


async def test_size_alone_may_be_enough(sync: S3Syncs, many: Path) -> None:
    for number in range(18):
        sync.put(f"{number:02}", b"y" if number else b"yy")

    done = await sync(many, f"s3://{BUCKET}", compare="size")

    assert (done.result["copied"], done.result["kept"], done.result["total"]) == (1, 17, 18)
    assert sync.holds()["01"] == b"y"
    assert sync.methods("HEAD") == 0


async def test_what_is_excluded_is_neither_copied_nor_deleted(
    sync: S3Syncs, many: Path, tmp_path: Path
) -> None:
    plant(many, {"new.bin": b"x", "cache/a": b"x", "new.txt": b"x"})
    for key in ("old.bin", "cache/b", "old.txt"):
        sync.put(f"p/{key}", b"x")
    chosen: Any = {"exclude": ["*.bin", "cache/"], "delete": True, "force": True}

    await sync(many, f"s3://{BUCKET}/p", **chosen)
    assert {key for key in sync.holds() if not key[-1].isdigit()} == {
        *("p/old.bin", "p/cache/b", "p/new.txt"),
    }

    plant(tmp_path / "back", {"stays.bin": b"x", "cache/c": b"x", "goes": b"x"})
    await sync(f"s3://{BUCKET}/p", tmp_path / "back", include=["*"], **chosen)
    assert set(tree(tmp_path / "back")) == {
        *("stays.bin", "cache/c", "new.txt"),
        *(f"{number:02}" for number in range(18)),
    }


@pytest.mark.parametrize("dry_run", [False, True])
async def test_names_that_clash_are_refused_where_they_would_be_files(
    sync: S3Syncs, tmp_path: Path, dry_run: bool
) -> None:
    clash = ["README", "readme", "e\u0301", "\u00e9", "a/B", "a/b"]
    for key in [*clash, "other", "A/b/c"]:
        sync.put(key, b"x")
    target = plant(tmp_path / "target", {"readme": b"x"})

    if dry_run:
        done = await sync(f"s3://{BUCKET}", target, dry_run=True)
        assert (done.result["refused"], done.result["copied"]) == (6, 2)
    else:
        with pytest.raises(NotAll) as raised:
            await sync(f"s3://{BUCKET}", target)
        assert {one["key"] for one in raised.value.objects} == set(clash)
        assert raised.value.code == "keys_refused"
        assert tree(target) == {"readme": b"x", "other": b"x", "A/b/c": b"x"}
    told = await sync.told()
    assert {key for key in told if told[key] == "refused"} == set(clash)

    assert (await sync(f"s3://{BUCKET}", f"s3://{OTHER}")).result["copied"] == 8


async def test_an_unreadable_folder_of_the_source_keeps_what_it_may_hold(
    sync: S3Syncs, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(many, {"closed/a.txt": b"x"})
    await sync(many, f"s3://{BUCKET}")
    before = os.scandir

    def scandir(path: Any) -> Any:
        if os.path.exists(f"/proc/self/fd/{path}/a.txt"):
            raise PermissionError(13, "Permission denied")
        return before(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(NotAll) as raised:
        await sync(many, f"s3://{BUCKET}", include=["*.txt"], delete=True, force=True)

    assert raised.value.objects == [{"key": "closed/", "reason": "the folder cannot be read"}]
    assert "closed/a.txt" in sync.holds()
