"""`sync_objects` with Cloud Storage: there and back, between two clouds, and what proves that an
object is there."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters._base import Refused, Unavailable
from adapters._http import Client
from adapters._storage import PART_BYTES
from ferryman.policies import policy
from tasks.sync_objects import NotAll
from tests import gcs, moto
from tests.strict_gcs import Strict, strict_gcs
from tests.tasks.driver import Driver, driving
from tests.tasks.mails import Script
from tests.tasks.syncs import Syncs, under
from tests.tasks.trees import plant, tree

BUCKET = "ferryman-clouds"
SMALL = {
    "a.txt": b"a",
    "a/b.txt": b"in a folder",
    "a/b/c/deep.json": b"{}",
    "empty": b"",
    "ü & +=%20#?.bin": bytes(range(256)),
}
TREE = SMALL | {"large": os.urandom(PART_BYTES) + b"and a little more"}


class Clouds(Syncs):
    """With two buckets of Cloud Storage and one of S3."""

    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
        super().__init__(driver, monkeypatch)
        self.server = server
        self.bucket, self.other = gcs.new_bucket(server), gcs.new_bucket(server)

    def put(self, key: str, data: bytes, **told: Any) -> None:
        gcs.put(self.server, self.bucket, key, data, **told)

    def holds(self, bucket: str | None = None) -> dict[str, bytes]:
        return gcs.holds(self.server, bucket or self.bucket)

    def at(self, prefix: str = "", bucket: str | None = None) -> str:
        return f"gs://{bucket or self.bucket}/{prefix}".rstrip("/")


@pytest.fixture
async def driver(
    database_url: str, monkeypatch: pytest.MonkeyPatch, s3_server: str, gcs_server: str
) -> AsyncIterator[Driver]:
    places = {"S3_BASE_URL": s3_server, "GCS_BASE_URL": gcs_server}
    for name, value in {**moto.ENVIRONMENT, **places}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    clients = {vendor: Client(policy(vendor)) for vendor in ("s3", "gcs")}
    async with driving(database_url, Script(), clients.__getitem__) as made:
        await made.rows("UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL")
        yield made
    for client in clients.values():
        await client.close()


@pytest.fixture
def sync(driver: Driver, monkeypatch: pytest.MonkeyPatch, gcs_server: str) -> Clouds:
    return Clouds(driver, monkeypatch, gcs_server)


@pytest.fixture
def s3(s3_server: str) -> Any:
    moto.reset(s3_server)
    client = moto.oracle(s3_server)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
async def strict(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> AsyncIterator[Strict]:
    """In the place of the other server; `driver` has set that one's address before."""
    async with strict_gcs() as vendor:
        monkeypatch.setenv("GCS_BASE_URL", vendor.url)
        yield vendor


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plant(tmp_path / "source", SMALL)


async def test_a_folder_goes_there_on_and_back_and_is_not_sent_twice(
    sync: Clouds, tmp_path: Path
) -> None:
    source = plant(tmp_path / "source", TREE)
    ends: list[tuple[str | Path, str | Path]] = [
        (source, sync.at("exports/daily")),
        (sync.at("exports/daily"), sync.at(bucket=sync.other)),
        (sync.at(bucket=sync.other), tmp_path / "target"),
    ]
    for pair in ends:
        done = await sync(*pair)
        assert (done.result["copied"], done.result["vendor"]) == (len(TREE), "gcs")

    assert sync.holds() == under("exports/daily", TREE)
    assert tree(tmp_path / "target") == TREE
    told = gcs.told(sync.server, sync.other, "a/b/c/deep.json")
    assert told["contentType"] == "application/json"

    for pair in ends:
        done = await sync(*pair)
        assert (done.result["kept"], done.result["copied"]) == (len(TREE), 0)
        # Each listing of a bucket tells all that has to be known.
        buckets = sum(isinstance(end, str) for end in pair)
        assert [seen["method"] for seen in sync.journal.interactions] == ["GET"] * buckets


async def test_each_object_is_on_record(sync: Clouds, source: Path) -> None:
    await sync(source, sync.at("p"))

    row = (await sync.rows())["p/a/b.txt"]
    told = gcs.told(sync.server, sync.bucket, "p/a/b.txt")
    assert (row["bucket"], row["action"], row["outcome"]) == (sync.bucket, "copy", "done")
    assert row["checksum"] == told["metadata"]["ferryman-sha256"]
    assert row["version"] == told["generation"]
    assert row["etag"]


async def test_what_others_stored_is_known_by_its_checksums(sync: Clouds, source: Path) -> None:
    sync.put("a.txt", SMALL["a.txt"])
    sync.put("part", SMALL["a/b.txt"][:5])
    sync.put("rest", SMALL["a/b.txt"][5:])
    gcs.compose(sync.server, sync.bucket, "a/b.txt", "part", "rest")
    sync.put("a/b/c/deep.json", b"[]")

    await sync(source, sync.at())

    kept = {key for key, action in (await sync.told("action")).items() if action == "keep"}
    assert kept == {"a.txt", "a/b.txt"}
    assert sync.holds()["a/b/c/deep.json"] == b"{}"


async def test_other_content_of_the_same_size_and_time_is_copied(
    sync: Clouds, source: Path, tmp_path: Path
) -> None:
    await sync(source, sync.at())
    await sync(sync.at(), tmp_path / "target")
    times = (source / "a.txt").stat()
    (source / "a.txt").write_bytes(b"b")
    os.utime(source / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))

    for pair in ((source, sync.at()), (sync.at(), tmp_path / "target")):
        done = await sync(*pair)
        assert (done.result["copied"], done.result["kept"]) == (1, len(SMALL) - 1)
    assert tree(tmp_path / "target") == SMALL | {"a.txt": b"b"}


async def test_hostile_keys_are_refused_and_the_others_copied(sync: Clouds, tmp_path: Path) -> None:
    for key in ("/abs", "p/../../out", "back\\slash", "good/one"):
        sync.put(key, b"x")

    with pytest.raises(NotAll) as raised:
        await sync(sync.at(), tmp_path / "inner" / "target")

    assert raised.value.code == "keys_refused"
    assert tree(tmp_path) == {"inner/target/good/one": b"x"}


async def test_surplus_is_deleted_on_request(sync: Clouds, tmp_path: Path) -> None:
    source = plant(tmp_path / "source", {f"{number:02}": b"x" for number in range(12)})
    await sync(source, sync.at())
    (source / "03").unlink()

    done = await sync(source, sync.at(), delete=True)

    assert done.result["deleted"] == 1
    assert sync.holds() == tree(source)


async def test_a_missing_bucket_is_told_by_its_side(sync: Clouds, source: Path) -> None:
    with pytest.raises(Refused) as raised:
        await sync(source, "gs://no-such-bucket/p")
    assert raised.value.code == "bucket_not_found"
    assert raised.value.message.startswith("destination: ")


# --- two clouds in one sync


class Written:
    """Files that this process opened for writing, while `on`."""

    on = False
    names: ClassVar[list[str]] = []

    @classmethod
    def hear(cls, event: str, given: tuple[Any, ...]) -> None:
        if cls.on and event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR):
            cls.names.append(str(given[0]))


sys.addaudithook(Written.hear)


async def test_objects_go_from_one_cloud_to_the_other_and_back_without_a_file(
    sync: Clouds, s3: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, data in TREE.items():
        s3.put_object(
            Bucket=BUCKET,
            Key=f"in/{key}",
            Body=data,
            ContentType="text/x-planted",
            Metadata={"owner": "me"},
        )
    monkeypatch.setattr(Written, "names", [])
    monkeypatch.setattr(Written, "on", True)

    there = await sync(f"s3://{BUCKET}/in", sync.at("copy"))
    back = await sync(sync.at("copy"), f"s3://{BUCKET}/out")

    assert Written.names == []
    assert (there.result["copied"], back.result["copied"]) == (len(TREE), len(TREE))
    assert sync.holds() == under("copy", TREE)
    assert moto.holds(s3_server, BUCKET) == under("in", TREE) | under("out", TREE)
    told = gcs.told(sync.server, sync.bucket, "copy/large")
    assert (told["contentType"], told["metadata"]["owner"]) == ("text/x-planted", "me")
    head = s3.head_object(Bucket=BUCKET, Key="out/large")
    assert (head["ContentType"], head["Metadata"]["owner"]) == ("text/x-planted", "me")


async def test_what_is_in_both_clouds_is_kept(sync: Clouds, s3: Any) -> None:
    for key, data in SMALL.items():
        s3.put_object(Bucket=BUCKET, Key=f"in/{key}", Body=data)
    ends = [
        (f"s3://{BUCKET}/in", sync.at("copy")),
        (sync.at("copy"), f"s3://{BUCKET}/out"),
    ]
    for pair in ends:
        await sync(*pair)
    for pair in ends:
        done = await sync(*pair)
        assert (done.result["kept"], done.result["copied"]) == (len(SMALL), 0)
    # Same size, other content: neither cloud's word for the old one proves the new one.
    s3.put_object(Bucket=BUCKET, Key="in/a.txt", Body=b"b")
    for pair in ends:
        done = await sync(*pair)
        assert (done.result["kept"], done.result["copied"]) == (len(SMALL) - 1, 1)
    assert s3.get_object(Bucket=BUCKET, Key="out/a.txt")["Body"].read() == b"b"


async def test_the_cloud_that_refuses_is_named(sync: Clouds, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="in/a", Body=b"x")

    with pytest.raises(Refused) as raised:
        await sync("s3://ferryman-no-such-bucket/in", sync.at())
    assert (raised.value.code, raised.value.vendor) == ("bucket_not_found", "s3")
    assert raised.value.message.startswith("source: ")


# --- what others write meanwhile, and what a kill leaves


async def test_an_object_that_was_written_meanwhile_stays(
    sync: Clouds, strict: Strict, tmp_path: Path
) -> None:
    source = plant(tmp_path / "source", {"a": b"ours", "b": b"ours", "c": b"ours"})
    strict.put("b", b"old one")
    await sync.begin(source, "gs://bucket")
    assert await sync.attempt(sync.id)  # planned: it waits for its parts
    strict.put("a", b"of another")
    strict.put("b", b"of another")
    strict.put("c", b"ours")

    with pytest.raises(NotAll) as raised:
        await sync.go_on()

    # What somebody else brought there meanwhile is what was to be brought.
    assert await sync.told() == {"a": "failed", "b": "failed", "c": "done"}
    assert strict.holds() == {"a": b"of another", "b": b"of another", "c": b"ours"}
    assert {left["key"] for left in raised.value.objects} == {"a", "b"}
    assert all("changed since it was listed" in left["reason"] for left in raised.value.objects)


async def test_a_large_object_goes_on_where_it_was(
    sync: Clouds, strict: Strict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters._gcs_upload.PART_BYTES", PART_BYTES // 4)
    data = os.urandom(PART_BYTES + 5)
    source = plant(tmp_path / "source", {"large": data})
    strict.broken = {"bytes 4194304-6291455"}

    with pytest.raises(Unavailable):
        await sync(source, "gs://bucket")
    assert strict.holds() == {}
    strict.broken = set()
    await sync.go_on()

    assert strict.holds() == {"large": data}
    sent = [span for span in strict.spans if not span.startswith("bytes */")]
    assert len(sent) == 5 + 1
    assert len(strict.sessions) == 1
    assert (await sync.told()) == {"large": "done"}
    assert (
        await sync.driver.rows(
            "SELECT status FROM ferryman.multiparts WHERE job_id = :id", id=sync.id
        )
    ) == [{"status": "done"}]


async def test_a_session_that_is_lost_is_begun_anew(
    sync: Clouds, strict: Strict, tmp_path: Path
) -> None:
    data = os.urandom(PART_BYTES + 5)
    source = plant(tmp_path / "source", {"large": data})
    strict.broken = {f"bytes {PART_BYTES}-"}

    with pytest.raises(Unavailable):
        await sync(source, "gs://bucket")
    strict.expire(410)
    strict.broken = set()
    await sync.go_on()

    assert strict.holds() == {"large": data}
    assert len(strict.sessions) == 2


async def test_a_large_object_of_another_cloud_goes_on_where_it_was(
    sync: Clouds, strict: Strict, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PART_BYTES // 4
    monkeypatch.setattr("adapters._gcs_upload.PART_BYTES", step)
    data = os.urandom(PART_BYTES + 5)
    s3.put_object(Bucket=BUCKET, Key="large", Body=data)
    strict.broken = {f"bytes {3 * step}-"}

    with pytest.raises(Unavailable):
        await sync(f"s3://{BUCKET}", "gs://bucket")
    strict.broken = set()
    await sync.go_on()

    assert strict.holds() == {"large": data}
    sent = [span for span in strict.spans if not span.startswith("bytes */")]
    assert [span.partition("-")[0] for span in sent] == [
        f"bytes {start * step}" for start in (0, 1, 2, 3, 3, 4)
    ]
    assert len(strict.sessions) == 1


async def test_a_sync_that_ends_without_an_object_leaves_no_session(
    sync: Clouds, strict: Strict, tmp_path: Path
) -> None:
    source = plant(tmp_path / "source", {"large": bytes(PART_BYTES + 5)})
    strict.broken = {f"bytes {PART_BYTES}-"}
    with pytest.raises(Unavailable):
        await sync(source, "gs://bucket")
    (source / "large").unlink()

    with pytest.raises(NotAll):
        await sync.go_on()

    assert [session.gone for session in strict.sessions.values()] == [499]
    open_ones = await sync.driver.rows(
        "SELECT key FROM ferryman.multiparts WHERE job_id = :id AND status = 'open'", id=sync.id
    )
    assert open_ones == []
