"""`sync_objects` with Cloud Storage: there and back, and what proves that an object is there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from adapters._base import Refused
from adapters._http import Client, HttpCall
from adapters._storage import PART_BYTES
from adapters.gcs import Adapter
from ferryman import requests
from ferryman.policies import policy
from models.ledger import Ledger
from tasks._base import Attempt, Done, Refusal
from tasks.sync_objects import NotAll, SyncObjects
from tests import gcs
from tests.adapters.doubles import Notes
from tests.tasks.trees import plant, tree

TREE = {
    "a.txt": b"a",
    "a/b.txt": b"in a folder",
    "a/b/c/deep.json": b"{}",
    "empty": b"",
    "ü & +=%20#?.bin": bytes(range(256)),
    "large": os.urandom(PART_BYTES) + b"and a little more",
}


class Syncs:
    """Runs of the job, on a real ledger and a real server."""

    def __init__(self, ledger: Ledger, client: Client, server: str) -> None:
        self.server = server
        self.bucket, self.other = gcs.new_bucket(server), gcs.new_bucket(server)
        self._ledger = ledger
        self._client = client

    async def __call__(self, source: str | Path, destination: str | Path, **more: bool) -> Done:
        numbers = policy("gcs")
        self.journal = Notes(job_id=uuid7())
        attempt: Attempt[requests.SyncObjects] = Attempt(
            id=self.journal.job_id,
            vendor="gcs",
            args=requests.SyncObjects(
                source=_address(source), destination=_address(destination), **more
            ),
            batch_id=None,
            adapter=Adapter(),
            call=HttpCall("gcs", self._client, numbers, self.journal),
            ledger=self._ledger,
            policy=numbers,
        )
        return await SyncObjects().run(attempt)

    async def rows(self) -> dict[str, dict[str, Any]]:
        """What the ledger says of the last job's objects."""
        query = text("SELECT * FROM ferryman.objects WHERE job_id = :id")
        async with self._ledger.transaction() as connection:
            found = await connection.execute(query, {"id": self.journal.job_id})
            return {row["key"]: dict(row) for row in found.mappings()}

    def put(self, key: str, data: bytes, **told: Any) -> None:
        gcs.put(self.server, self.bucket, key, data, **told)

    def holds(self, bucket: str | None = None) -> dict[str, bytes]:
        return gcs.holds(self.server, bucket or self.bucket)

    def at(self, prefix: str = "", bucket: str | None = None) -> str:
        return f"gs://{bucket or self.bucket}/{prefix}".rstrip("/")


def _address(place: str | Path) -> str:
    return f"file://{place}" if isinstance(place, Path) else place


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with gcs.running_gcs() as url:
        yield url


@pytest.fixture
async def sync(
    server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Syncs]:
    monkeypatch.setenv("GCS_BASE_URL", server)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    ledger, client = Ledger(database_url, max_wait_seconds=60), Client(policy("gcs"))
    yield Syncs(ledger, client, server)
    await client.close()
    await ledger.dispose()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plant(tmp_path / "source", TREE)


async def test_a_folder_goes_there_on_and_back_and_is_not_sent_twice(
    sync: Syncs, source: Path, tmp_path: Path
) -> None:
    ends = [
        (source, sync.at("exports/daily")),
        (sync.at("exports/daily"), sync.at(bucket=sync.other)),
        (sync.at(bucket=sync.other), tmp_path / "target"),
    ]
    for pair in ends:
        done = await sync(*pair)
        assert (done.result["copied"], done.result["vendor"]) == (len(TREE), "gcs")

    assert sync.holds() == {f"exports/daily/{key}": data for key, data in TREE.items()}
    assert tree(tmp_path / "target") == TREE
    told = gcs.told(sync.server, sync.other, "a/b/c/deep.json")
    assert told["contentType"] == "application/json"

    for pair in ends:
        done = await sync(*pair)
        assert (done.result["kept"], done.result["copied"]) == (len(TREE), 0)
        # Each listing of a bucket tells all that has to be known.
        buckets = sum(isinstance(end, str) for end in pair)
        assert [seen["method"] for seen in sync.journal.interactions] == ["GET"] * buckets


async def test_each_object_is_on_record(sync: Syncs, source: Path) -> None:
    await sync(source, sync.at("p"))

    row = (await sync.rows())["p/a/b.txt"]
    told = gcs.told(sync.server, sync.bucket, "p/a/b.txt")
    assert (row["bucket"], row["action"], row["outcome"]) == (sync.bucket, "copy", "done")
    assert row["checksum"] == told["metadata"]["ferryman-sha256"]
    assert row["etag"]


async def test_what_others_stored_is_known_by_its_checksums(sync: Syncs, source: Path) -> None:
    sync.put("a.txt", TREE["a.txt"])
    sync.put("part", TREE["a/b.txt"][:5])
    sync.put("rest", TREE["a/b.txt"][5:])
    gcs.compose(sync.server, sync.bucket, "a/b.txt", "part", "rest")
    sync.put("a/b/c/deep.json", b"[]")

    await sync(source, sync.at())

    actions = {key: row["action"] for key, row in (await sync.rows()).items()}
    assert {key for key, action in actions.items() if action == "keep"} == {"a.txt", "a/b.txt"}
    assert sync.holds()["a/b/c/deep.json"] == b"{}"


async def test_other_content_of_the_same_size_and_time_is_copied(
    sync: Syncs, source: Path, tmp_path: Path
) -> None:
    await sync(source, sync.at())
    await sync(sync.at(), tmp_path / "target")
    times = (source / "a.txt").stat()
    (source / "a.txt").write_bytes(b"b")
    os.utime(source / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))

    for pair in ((source, sync.at()), (sync.at(), tmp_path / "target")):
        done = await sync(*pair)
        assert (done.result["copied"], done.result["kept"]) == (1, len(TREE) - 1)
    assert tree(tmp_path / "target") == TREE | {"a.txt": b"b"}


async def test_hostile_keys_are_refused_and_the_others_copied(sync: Syncs, tmp_path: Path) -> None:
    for key in ("/abs", "p/../../out", "back\\slash", "good/one"):
        sync.put(key, b"x")

    with pytest.raises(NotAll) as raised:
        await sync(sync.at(), tmp_path / "inner" / "target")

    assert raised.value.code == "keys_refused"
    assert tree(tmp_path) == {"inner/target/good/one": b"x"}


async def test_surplus_is_deleted_on_request(sync: Syncs, tmp_path: Path) -> None:
    source = plant(tmp_path / "source", {f"{number:02}": b"x" for number in range(12)})
    await sync(source, sync.at())
    (source / "03").unlink()

    done = await sync(source, sync.at(), delete=True)

    assert done.result["deleted"] == 1
    assert sync.holds() == tree(source)


async def test_another_cloud_is_refused_and_a_missing_bucket_is_told_by_its_side(
    sync: Syncs, source: Path
) -> None:
    with pytest.raises(Refusal, match="source: gcs keeps no s3:// buckets"):
        await sync("s3://ferryman-tests", sync.at())
    with pytest.raises(Refused, match="destination") as raised:
        await sync(source, "gs://no-such-bucket/p")
    assert raised.value.code == "bucket_not_found"
