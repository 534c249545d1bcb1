"""`sync_objects`: what is copied, kept, refused and deleted, and what is on record of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from adapters._base import Misconfigured, Refused, Unavailable
from adapters._storage import PART_BYTES
from ferryman.policies import policy
from tasks import _keys
from tasks._base import Refusal
from tasks._folder import Folder
from tasks._rooted import Root
from tasks.sync_objects import NotAll
from tests.tasks.syncs import BUCKET, OTHER, TREE, Flaky, S3Syncs, s3_syncs, under
from tests.tasks.trees import plant, tree


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


# --- each direction


async def test_a_folder_arrives_in_the_bucket(sync: S3Syncs, source: Path) -> None:
    done = await sync(source, f"s3://{BUCKET}/exports/daily")

    assert sync.holds() == under("exports/daily", TREE)
    assert done.result == {
        "id": str(sync.id),
        "vendor": "s3",
        "copied": 6,
        "kept": 0,
        "deleted": 0,
        "refused": 0,
        "failed": 0,
        "bytes": sum(map(len, TREE.values())),
        "dry_run": False,
        "batch_id": str(sync.id),
        "total": 6,
    }
    found = sync.s3.head_object(Bucket=BUCKET, Key="exports/daily/a/b/c/deep.json")
    assert found["ContentType"] == "application/json"


async def test_each_object_is_on_record(sync: S3Syncs, source: Path) -> None:
    await sync(source, f"s3://{BUCKET}/p")

    rows = await sync.rows()
    assert set(rows) == set(under("p", TREE))
    row = rows["p/a/b.txt"]
    found = sync.s3.head_object(Bucket=BUCKET, Key="p/a/b.txt")
    assert (row["bucket"], row["action"], row["outcome"]) == (BUCKET, "copy", "done")
    assert row["size"] == 11
    assert row["etag"] == found["ETag"].strip('"')
    assert row["checksum"] == found["Metadata"]["ferryman-sha256"]
    assert row["last_modified"].timestamp() == pytest.approx(
        (source / "a/b.txt").stat().st_mtime, abs=1e-3
    )


async def test_the_steps_are_marked_and_every_exchange_is_kept(sync: S3Syncs, source: Path) -> None:
    await sync(source, f"s3://{BUCKET}/p")

    own = [mark for mark in sync.journal.left if mark["job_id"] == sync.id]
    assert {(m["step"], m["vendor_key"], m["repeat"]) for m in own} == {
        ("sync", str(sync.id), "natural")
    }
    assert all(mark["answered_at"] for mark in sync.journal.left)
    assert sync.methods("PUT") == len(TREE)
    assert {seen["status_code"] for seen in sync.journal.interactions} == {200}


async def test_a_bucket_arrives_in_a_folder(sync: S3Syncs, tmp_path: Path) -> None:
    for key, data in {**under("exports", TREE), "exports2/other": b"no"}.items():
        sync.put(key, data)
    sync.put("exports/folder/", b"")

    done = await sync(f"s3://{BUCKET}/exports", tmp_path / "new" / "target")

    assert tree(tmp_path / "new" / "target") == TREE
    assert done.result["copied"] == len(TREE)
    assert (await sync.rows())["exports/a.txt"]["bucket"] == BUCKET


async def test_a_bucket_arrives_in_another_with_what_belongs_to_the_objects(
    sync: S3Syncs,
) -> None:
    kept: Any = {"ContentType": "text/css", "CacheControl": "no-cache", "Metadata": {"owner": "me"}}
    sync.put("from/style.css", b"p {}", **kept)

    await sync(f"s3://{BUCKET}/from", f"s3://{OTHER}/to")

    found = sync.s3.get_object(Bucket=OTHER, Key="to/style.css")
    assert found["Body"].read() == b"p {}"
    assert (found["ContentType"], found["CacheControl"]) == ("text/css", "no-cache")
    assert found["Metadata"]["owner"] == "me"


async def test_a_large_object_goes_there_and_back(sync: S3Syncs, tmp_path: Path) -> None:
    data = os.urandom(PART_BYTES) + b"and a little more"
    plant(tmp_path / "source", {"large": data})

    await sync(tmp_path / "source", f"s3://{BUCKET}")
    assert sync.holds() == {"large": data}
    assert sync.s3.head_object(Bucket=BUCKET, Key="large")["ETag"].endswith('-2"')
    await sync(f"s3://{BUCKET}", f"s3://{OTHER}/copy")
    await sync(f"s3://{OTHER}/copy", tmp_path / "back")
    assert tree(tmp_path / "back") == {"large": data}

    for source, target in (
        (tmp_path / "source", f"s3://{BUCKET}"),
        (f"s3://{BUCKET}", f"s3://{OTHER}/copy"),
        (f"s3://{OTHER}/copy", tmp_path / "back"),
    ):
        done = await sync(source, target)
        assert (done.result["kept"], done.result["copied"]) == (1, 0)


# --- only what changed


async def test_what_is_the_same_is_kept_and_not_sent_again(
    sync: S3Syncs, source: Path, tmp_path: Path
) -> None:
    ends: list[tuple[str | Path, str | Path]] = [
        (source, f"s3://{BUCKET}/p"),
        (f"s3://{BUCKET}/p", f"s3://{OTHER}"),
        (f"s3://{OTHER}", tmp_path / "target"),
    ]
    for pair in ends:
        await sync(*pair)
    for pair in ends:
        done = await sync(*pair)
        assert (done.result["kept"], done.result["copied"], done.result["bytes"]) == (6, 0, 0)
        assert set((await sync.told("action")).values()) == {"keep"}
        assert sync.methods("PUT") == 0


async def test_other_content_of_the_same_size_and_time_is_copied(
    sync: S3Syncs, source: Path, tmp_path: Path
) -> None:
    await sync(source, f"s3://{BUCKET}")
    await sync(f"s3://{BUCKET}", f"s3://{OTHER}")
    await sync(f"s3://{OTHER}", tmp_path / "target")
    times = (source / "a/b.txt").stat()
    (source / "a/b.txt").write_bytes(b"not the sam")
    os.utime(source / "a/b.txt", ns=(times.st_atime_ns, times.st_mtime_ns))

    for pair in (
        (source, f"s3://{BUCKET}"),
        (f"s3://{BUCKET}", f"s3://{OTHER}"),
        (f"s3://{OTHER}", tmp_path / "target"),
    ):
        done = await sync(*pair)
        assert (done.result["copied"], done.result["kept"]) == (1, 5)
    assert tree(tmp_path / "target") == {**TREE, "a/b.txt": b"not the sam"}


async def test_content_that_others_replaced_beside_our_metadata_is_found(
    sync: S3Syncs, source: Path
) -> None:
    """As file systems on buckets do, that keep the metadata of what they write again."""
    await sync(source, f"s3://{BUCKET}")
    kept = sync.s3.head_object(Bucket=BUCKET, Key="a/b.txt")["Metadata"]
    sync.put("a/b.txt", b"not the sam", Metadata=kept)

    done = await sync(source, f"s3://{BUCKET}")
    assert (done.result["copied"], sync.holds()) == (1, TREE)


async def test_a_new_time_alone_is_no_change(sync: S3Syncs, source: Path) -> None:
    await sync(source, f"s3://{BUCKET}")
    os.utime(source / "a.txt", (1, 1))

    assert (await sync(source, f"s3://{BUCKET}")).result["kept"] == len(TREE)


async def test_what_others_stored_is_known_by_its_md5_or_copied_once(
    sync: S3Syncs, source: Path
) -> None:
    sync.put("a.txt", TREE["a.txt"])
    upload = sync.s3.create_multipart_upload(Bucket=BUCKET, Key="a/b.txt")
    ids = {"Bucket": BUCKET, "Key": "a/b.txt", "UploadId": upload["UploadId"]}
    part = sync.s3.upload_part(**ids, PartNumber=1, Body=TREE["a/b.txt"])
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    sync.s3.complete_multipart_upload(**ids, MultipartUpload=parts)

    await sync(source, f"s3://{BUCKET}")
    actions = await sync.told("action")
    assert (actions["a.txt"], actions["a/b.txt"]) == ("keep", "copy")

    assert (await sync(source, f"s3://{BUCKET}")).result["kept"] == len(TREE)


async def test_a_large_object_of_others_is_copied_between_buckets_once(sync: S3Syncs) -> None:
    upload = sync.s3.create_multipart_upload(Bucket=BUCKET, Key="large")
    ids = {"Bucket": BUCKET, "Key": "large", "UploadId": upload["UploadId"]}
    data = [b"a" * (5 << 20), b"b" * (5 << 20)]
    tags = [
        sync.s3.upload_part(**ids, PartNumber=n, Body=part)["ETag"]
        for n, part in enumerate(data, 1)
    ]
    parts = {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
    sync.s3.complete_multipart_upload(**ids, MultipartUpload=parts)

    await sync(f"s3://{BUCKET}", f"s3://{OTHER}")
    assert sync.holds(OTHER) == {"large": b"".join(data)}

    done = await sync(f"s3://{BUCKET}", f"s3://{OTHER}")
    assert (done.result["kept"], done.result["copied"]) == (1, 0)


# --- what may not be


GONE = "it is gone since it was listed"
HOSTILE = ["/abs", "p/../../out", "..", "p/./dot", "p//empty", "back\\slash", "tab\there"]


async def test_hostile_keys_are_refused_and_the_others_copied(
    sync: S3Syncs, tmp_path: Path
) -> None:
    for key in [*HOSTILE, "good/one"]:
        sync.put(key, b"x")

    with pytest.raises(NotAll) as raised:
        await sync(f"s3://{BUCKET}", tmp_path / "inner" / "target")

    assert tree(tmp_path) == {"inner/target/good/one": b"x"}
    error = raised.value.as_error()
    assert error["code"] == "keys_refused"
    assert {one["key"] for one in error["objects"]} == {
        *HOSTILE[:-1],
        _keys.shown("tab\there"),
    }
    assert all(one["reason"] for one in error["objects"])
    assert all(key not in raised.value.message for key in HOSTILE)
    assert set((await sync.told()).values()) == {"refused", "done"}


async def test_links_out_of_the_source_are_refused(sync: S3Syncs, source: Path) -> None:
    outside = plant(source.parent / "outside", {"secret": b"s"})
    (source / "out").symlink_to(outside / "secret")
    (source / "folder").symlink_to(outside)
    (source / "broken").symlink_to("nowhere")
    (source / "inside").symlink_to("a/b.txt")
    os.mkfifo(source / "pipe")

    with pytest.raises(NotAll):
        await sync(source, f"s3://{BUCKET}")

    assert sync.holds() == {**TREE, "inside": TREE["a/b.txt"]}
    told = await sync.told()
    assert {key for key in told if told[key] == "refused"} == {"out", "folder", "broken", "pipe"}


async def test_a_link_to_a_name_that_is_not_utf8_is_refused(sync: S3Syncs, source: Path) -> None:
    """The ledger could not hold where it leads."""
    name = os.fsdecode(b"caf\xe9")
    plant(source, {name: b"x"})
    (source / "link").symlink_to(name)

    with pytest.raises(NotAll):
        await sync(source, f"s3://{BUCKET}")
    assert sync.holds() == TREE
    assert (await sync.told())["link"] == "refused"


async def test_links_at_the_target_lead_nowhere(sync: S3Syncs, tmp_path: Path) -> None:
    outside = plant(tmp_path / "outside", {"file": b"old"})
    target = plant(tmp_path / "target", {"here": b"x"})
    (target / "folder").symlink_to(outside)
    (target / "link").symlink_to(outside / "file")
    for key in ("folder/file", "folder/new", "link", "here/below", "good"):
        sync.put(key, b"new")

    with pytest.raises(NotAll):
        await sync(f"s3://{BUCKET}", target)

    assert tree(outside) == {"file": b"old"}
    assert (target / "good").read_bytes() == b"new"
    told = await sync.told()
    assert {key for key in told if told[key] == "done"} == {"good"}
    assert set(told.values()) == {"done", "refused"}


async def test_a_link_within_the_target_stays_what_it_is(sync: S3Syncs, tmp_path: Path) -> None:
    target = plant(tmp_path / "target", {"file": b"old"})
    (target / "link").symlink_to("file")
    sync.put("link", b"old")

    with pytest.raises(NotAll):
        await sync(f"s3://{BUCKET}", target)

    assert (target / "link").is_symlink()
    assert (await sync.told())["link"] == "refused"


async def test_a_link_put_in_the_way_later_is_not_followed(
    sync: S3Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = plant(tmp_path / "outside", {"file": b"secret"})
    source = plant(tmp_path / "source", {"folder/file": b"public"})
    before: Callable[..., Any] = Folder.read

    async def swapped(self: Folder, *what: Any) -> Any:
        (source / "folder").rename(source / "moved")
        (source / "folder").symlink_to(outside)
        return await before(self, *what)

    monkeypatch.setattr(Folder, "read", swapped)
    with pytest.raises(NotAll):
        await sync(source, f"s3://{BUCKET}")
    assert sync.holds() == {}


@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
async def test_a_file_that_vanishes_after_it_was_listed_is_told(
    sync: S3Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = plant(tmp_path / "source", {"gone": b"x" * size, "there": b"y"})
    before: Callable[..., Any] = Root.open

    def open_(self: Root, path: str) -> Any:
        (source / "gone").unlink(missing_ok=True)
        return before(self, path)

    monkeypatch.setattr(Root, "open", open_)
    with pytest.raises(NotAll) as raised:
        await sync(source, f"s3://{BUCKET}")

    assert raised.value.objects == [{"key": "gone", "reason": GONE}]
    assert sync.holds() == {"there": b"y"}


async def test_a_name_that_is_not_utf8_is_refused(sync: S3Syncs, source: Path) -> None:
    plant(source, {os.fsdecode(b"caf\xe9"): b"x"})

    with pytest.raises(NotAll):
        await sync(source, f"s3://{BUCKET}")
    assert sync.holds() == TREE
    (key,) = (key for key, outcome in (await sync.told()).items() if outcome == "refused")
    assert key.startswith("caf\\xe9…")


async def test_a_missing_source_is_told_before_anything_is_sent(
    sync: S3Syncs, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="source") as raised:
        await sync(tmp_path / "nowhere", f"s3://{BUCKET}")

    assert raised.value.code == "source_missing"
    assert (sync.journal.left, sync.journal.interactions) == ([], [])


async def test_a_file_is_no_source(sync: S3Syncs, source: Path) -> None:
    with pytest.raises(Refusal, match=r"^source: it is not a folder$") as raised:
        await sync(source / "a.txt", f"s3://{BUCKET}")

    assert raised.value.code == "source_not_a_folder"
    assert (sync.journal.left, sync.journal.interactions) == ([], [])


async def test_a_folder_that_a_link_puts_into_the_other_is_no_destination(
    sync: S3Syncs, source: Path
) -> None:
    (source.parent / "link").symlink_to(source / "a")

    with pytest.raises(Refusal, match=r"^destination: it must lie outside the source"):
        await sync(source, source.parent / "link")
    with pytest.raises(Refusal, match=r"^destination: it must lie outside the source"):
        await sync(source.parent / "link", source)
    assert tree(source) == TREE


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("below", "what"), [((), "it"), (("sub",), "what it lies in"), (("a", "b"), "what it lies in")]
)
async def test_a_file_is_no_destination(
    sync: S3Syncs, tmp_path: Path, below: tuple[str, ...], what: str, dry_run: bool
) -> None:
    sync.put("new", b"x")
    file = plant(tmp_path, {"people.csv": b"to"}) / "people.csv"

    with pytest.raises(Refusal, match=f"^destination: {what} is not a folder$") as raised:
        await sync(f"s3://{BUCKET}", file.joinpath(*below), dry_run=dry_run)

    assert raised.value.code == "destination_not_a_folder"
    assert tree(tmp_path) == {"people.csv": b"to"}
    assert (sync.journal.left, sync.journal.interactions) == ([], [])


async def test_a_destination_that_cannot_be_made_holds_nothing(sync: S3Syncs) -> None:
    sync.put("new", b"x")

    # Not even the superuser, whom no permission binds, makes a folder there.
    with pytest.raises(NotAll) as raised:
        await sync(f"s3://{BUCKET}", Path("/sys/ferryman/target"))

    assert raised.value.as_error()["objects"] == [
        {"key": "new", "reason": "destination: the folder cannot be created"}
    ]
    assert "done" not in (await sync.told()).values()


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("below", "how"), [("", "read and written"), ("a/b", "created")])
async def test_a_destination_without_the_permission_is_refused_before_anything_is_sent(
    sync: S3Syncs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    below: str,
    how: str,
    dry_run: bool,
) -> None:
    sync.put("new", b"x")
    target = plant(tmp_path / "target", {"old": b"x"})
    target.chmod(0o500)
    monkeypatch.setattr(os, "access", owner_may)

    with pytest.raises(Refusal, match=f"^destination: the folder cannot be {how}$") as raised:
        await sync(f"s3://{BUCKET}", target / below, dry_run=dry_run)

    assert raised.value.code == "destination_not_writable"
    assert (sync.journal.left, sync.journal.interactions) == ([], [])
    assert tree(target) == {"old": b"x"}


def owner_may(path: str, mode: int) -> bool:
    """By the owner's permissions alone, also where the superuser runs the tests."""
    return Path(path).stat().st_mode >> 6 & mode == mode


async def test_a_missing_bucket_is_told_by_its_side(sync: S3Syncs, source: Path) -> None:
    missing = "s3://no-such-bucket/p"
    for ends, side in (((source, missing), "destination"), ((missing, source), "source")):
        with pytest.raises(Refused) as raised:
            await sync(*ends)
        assert raised.value.code == "bucket_not_found"
        assert raised.value.message.startswith(f"{side}: ")


# --- what goes wrong on the way


async def test_the_next_run_copies_only_what_is_missing(sync: S3Syncs, many: Path) -> None:
    flaky = sync.uses(Flaky(**{"07": Unavailable("the vendor answered 503")}))
    with pytest.raises(Unavailable):
        await sync(many, f"s3://{BUCKET}")
    told = await sync.told()
    assert told.pop("07") == "planned"
    assert set(told.values()) == {"done"}
    assert len(sync.holds()) == 17

    flaky = sync.uses(Flaky())
    done = await sync(many, f"s3://{BUCKET}", id=sync.id)

    assert flaky.puts == 1
    counts = {name: done.result[name] for name in ("copied", "kept", "failed", "bytes")}
    assert counts == {"copied": 18, "kept": 0, "failed": 0, "bytes": 18}
    assert set((await sync.told()).values()) == {"done"}


async def test_what_failed_and_then_went_away_is_told(sync: S3Syncs, many: Path) -> None:
    sync.uses(Flaky(**{"07": Unavailable("the vendor answered 503")}))
    with pytest.raises(Unavailable):
        await sync(many, f"s3://{BUCKET}")
    (many / "07").unlink()

    with pytest.raises(NotAll) as raised:
        await sync(many, f"s3://{BUCKET}", id=sync.id)

    assert raised.value.objects == [{"key": "07", "reason": GONE}]
    assert len(sync.holds()) == 17


async def test_a_vendor_that_fails_every_time_is_left_alone_soon(
    sync: S3Syncs, tmp_path: Path
) -> None:
    source = plant(tmp_path / "source", {f"{number:03}": b"x" for number in range(100)})
    flaky = sync.uses(Flaky(all=Unavailable("the vendor answered 503")))

    with pytest.raises(Unavailable):
        await sync(source, f"s3://{BUCKET}")
    assert flaky.puts < 30


async def test_a_wrong_setting_ends_the_run_at_once(sync: S3Syncs, many: Path) -> None:
    flaky = sync.uses(Flaky(all=Misconfigured("AWS_ACCESS_KEY_ID is not accepted")))

    with pytest.raises(Misconfigured):
        await sync(many, f"s3://{BUCKET}")
    assert flaky.puts <= policy("s3").concurrency
    assert sync.journal.answers == ["transfer"]


async def test_an_object_refused_by_the_vendor_does_not_stop_the_others(
    sync: S3Syncs, many: Path
) -> None:
    sync.uses(Flaky(**{"07": Refused("the vendor answered 400", status=400)}))

    with pytest.raises(NotAll) as raised:
        await sync(many, f"s3://{BUCKET}")
    assert raised.value.as_error()["objects"] == [
        {"key": "07", "reason": "the vendor answered 400"}
    ]
    assert raised.value.message == "0 objects were refused and 1 failed; the others were copied"
    assert raised.value.code == "objects_failed"
    assert len(sync.holds()) == 17


async def test_the_first_that_failed_are_named_and_that_none_was_copied(
    sync: S3Syncs, tmp_path: Path
) -> None:
    source = plant(tmp_path / "source", {f"{number:02}": b"x" for number in range(12)})
    flaky = sync.uses(Flaky(all=Refused("the vendor answered 400", status=400)))
    flaky.fails |= {"00": Refused("the vendor answered 413", status=413)}

    with pytest.raises(NotAll) as raised:
        await sync(source, f"s3://{BUCKET}")

    error = raised.value.as_error()
    assert error["message"] == "0 objects were refused and 12 failed; none was copied"
    assert [one["key"] for one in error["objects"]] == [f"{number:02}" for number in range(10)]
    reasons = [one["reason"] for one in error["objects"]]
    assert reasons == ["the vendor answered 413"] + ["the vendor answered 400"] * 9


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(28, "No space left on device"), "No space left on device"), (OSError(), "OSError")],
)
async def test_what_the_system_said_of_a_file_is_its_reason(
    sync: S3Syncs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    reason: str,
) -> None:
    async def write(*_: object) -> None:
        raise error

    sync.put("new", b"x")
    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(NotAll) as raised:
        await sync(f"s3://{BUCKET}", tmp_path / "target")

    assert raised.value.code == "objects_failed"
    assert raised.value.as_error()["objects"] == [{"key": "new", "reason": reason}]


class Growing:
    """A file to which something is added whenever it is read or looked at."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name in ("read", "fileno"):
            with self._path.open("ab") as end:
                end.write(b"+")
        return getattr(self._file, name)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("size", [10, PART_BYTES + 10])
async def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(
    sync: S3Syncs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = plant(tmp_path / "source", {"log": b"x" * size, "calm": b"y"})
    before: Callable[..., Any] = Root.open

    def growing(self: Root, path: str) -> Any:
        file = before(self, path)
        return Growing(file, source / path) if path == "log" else file

    with monkeypatch.context() as patched:
        patched.setattr(Root, "open", growing)
        with pytest.raises(Unavailable) as raised:
            await sync(source, f"s3://{BUCKET}")

    assert raised.value.code == "source_changed"
    assert sync.holds() == {"calm": b"y"}
    assert (await sync.told())["log"] == "planned"

    done = await sync(source, f"s3://{BUCKET}", id=sync.id)
    assert done.result["copied"] == 2
    assert sync.holds() == tree(source)


@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
async def test_content_that_is_not_the_announced_one_never_takes_its_place(
    sync: S3Syncs, tmp_path: Path, size: int
) -> None:
    sync.put("good", b"x")
    sync.put("bad", b"x" * size, Metadata={"ferryman-sha256": "ab" * 32})

    with pytest.raises(Unavailable) as raised:
        await sync(f"s3://{BUCKET}", tmp_path / "target")
    assert raised.value.code == "checksum_mismatch"
    assert tree(tmp_path / "target") == {"good": b"x"}


async def test_a_copy_that_was_not_yet_on_record_when_the_worker_died_counts(
    sync: S3Syncs, many: Path
) -> None:
    sync.uses(Flaky(**{"17": Unavailable("the vendor answered 503")}))
    with pytest.raises(Unavailable):
        await sync(many, f"s3://{BUCKET}")
    sync.put("17", b"x")

    done = await sync(many, f"s3://{BUCKET}", id=sync.id)

    assert (done.result["copied"], done.result["kept"]) == (18, 0)


async def test_only_this_jobs_own_leftovers_are_cleared(sync: S3Syncs, tmp_path: Path) -> None:
    ours, other = uuid7(), uuid7()
    target = tmp_path / "target"
    left = {f"sub/.{owner.hex}.{'0' * 12}-3.ferryman": b"half" for owner in (ours, other)}
    plant(target, left)
    sync.put("sub/whole", b"whole")

    await sync(f"s3://{BUCKET}", target, id=ours)

    assert set(tree(target)) == {f"sub/.{other.hex}.{'0' * 12}-3.ferryman", "sub/whole"}
    await sync(target, f"s3://{OTHER}")
    assert set(sync.holds(OTHER)) == {"sub/whole"}


# --- order


NAMES = st.text(st.sampled_from("ab-./0ü"), min_size=1, max_size=4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES, max_size=12), after=NAMES)
async def test_a_folder_is_listed_as_a_bucket_would_be(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], after: str
) -> None:
    root = tmp_path_factory.mktemp("walk")
    for name in names:
        path = root / name.strip("/.")
        if path.parent.is_dir() or not any(p.is_file() for p in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_bytes(b"x")

    folder = Folder(str(root), uuid7(), target=False)
    walked = [entry.key async for batch in folder.entries() for entry in batch]

    assert walked == sorted(tree(root), key=str.encode)
    later = [entry.key async for batch in folder.entries(after) for entry in batch]
    assert later == [key for key in walked if key.encode() > after.encode()]
