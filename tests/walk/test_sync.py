"""A sync by a real worker: from the door to the bucket, through the worker's death."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ferryman.policies import policy
from tests import moto
from tests.gate import gate
from tests.harness import Harness, until

BUCKET = "ferryman-tests"
FILES = 150


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto.running_moto() as url:
        yield url


@pytest.fixture
def s3(server: str, harness: Harness) -> str:
    """An empty bucket that the harness' workers write to."""
    moto.reset(server)
    moto.oracle(server).create_bucket(Bucket=BUCKET)
    harness.env |= {**moto.ENVIRONMENT, "S3_BASE_URL": server, "AWS_EC2_METADATA_DISABLED": "true"}
    return server


def plant(folder: Path, count: int) -> dict[str, bytes]:
    """A folder `source` of so many files; their contents by name."""
    files = {f"{number % 7}/{number:03}": os.urandom(4096) for number in range(count)}
    for name, data in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def enqueue(harness: Harness, **options: Any) -> UUID:
    address = f"file://{harness.folder / 'source'}"
    args = {"source": address, "destination": f"s3://{BUCKET}", **options}
    return harness.enqueue("sync_objects", args)


def copied(harness: Harness, job_id: UUID) -> set[str]:
    query = "SELECT key FROM ferryman.objects WHERE job_id = %s AND outcome = 'done'"
    return {row["key"] for row in harness.rows(query, (job_id,))}


def test_a_killed_sync_goes_on_where_it_was(harness: Harness, s3: str) -> None:
    source = plant(harness.folder, FILES)
    with gate(s3, let_through=60) as (url, vendor):
        harness.env["S3_BASE_URL"] = url
        first = harness.worker()
        job_id = enqueue(harness)
        until(lambda: len(copied(harness, job_id)) == 60, what="60 files are copied")
        harness.kill(first)
        vendor.open()

        harness.worker()
        job = harness.ended(job_id, seconds=60)

    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["result"]["copied"] == FILES
    assert copied(harness, job_id) == set(source)
    assert moto.holds(s3, BUCKET) == source
    assert [a["outcome"] for a in harness.attempts(job_id)] == ["lease_lost", "succeeded"]
    # Only what was on its way when the worker died may have been sent twice.
    twice = [path for path, count in vendor.puts.items() if count > 1]
    assert len(twice) <= policy("s3").concurrency
    assert len(vendor.puts) == FILES


def test_without_credentials_the_job_says_which_variable_is_missing(
    harness: Harness, s3: str
) -> None:
    plant(harness.folder, 1)
    del harness.env["AWS_ACCESS_KEY_ID"]
    harness.worker()
    job_id = enqueue(harness)

    job = until(lambda: waiting(harness, job_id), what="the job waits")

    assert (job["status"], job["reason"]) == ("waiting", "AWS_ACCESS_KEY_ID is not set")
    assert job["attempts"] == 0


def waiting(harness: Harness, job_id: UUID) -> dict[str, Any] | None:
    job = harness.job(job_id)
    return job if job["reason"] else None


def test_refused_keys_are_listed_in_the_jobs_error(harness: Harness, s3: str) -> None:
    source = plant(harness.folder, 3)
    (harness.folder / "source" / "out").symlink_to("/etc/hostname")
    harness.worker()

    job = harness.ended(enqueue(harness))

    assert (job["status"], job["error"]["code"]) == ("failed", "keys_refused")
    assert [one["key"] for one in job["error"]["objects"]] == ["out"]
    assert moto.holds(s3, BUCKET) == source
    assert "source/" not in harness.logs()
