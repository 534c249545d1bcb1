"""A sync by a real worker: what its job says when something is not as it should be, and what people
may do about it. Kills are met in tests/chaos/test_sync.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests import moto
from tests.asked import part, small
from tests.gate import Gate, gate
from tests.harness import Harness, until
from tests.tasks.trees import plant

BUCKET = "ferryman-tests"
TREE = {f"{number % 7}/{number:03}": b"%d" % number for number in range(40)}


@pytest.fixture
def s3(s3_server: str, harness: Harness) -> str:
    """An empty bucket that the harness' workers write to, and a folder `source`."""
    moto.reset(s3_server)
    moto.oracle(s3_server).create_bucket(Bucket=BUCKET)
    harness.env |= {
        **moto.ENVIRONMENT,
        "S3_BASE_URL": s3_server,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    plant(harness.folder / "source", TREE)
    return s3_server


@pytest.fixture
def vendor(s3: str, harness: Harness) -> Iterator[Gate]:
    """The gate before that bucket."""
    with gate(s3) as (url, made):
        harness.env["S3_BASE_URL"] = url
        yield made


def enqueue(harness: Harness, **options: Any) -> UUID:
    address = f"file://{harness.folder / 'source'}"
    args = {"source": address, "destination": f"s3://{BUCKET}", **options}
    return harness.enqueue("sync_objects", args)


def test_without_credentials_the_job_says_which_variable_is_missing(
    harness: Harness, s3: str
) -> None:
    del harness.env["AWS_ACCESS_KEY_ID"]
    harness.worker()
    job_id = enqueue(harness)

    job = until(lambda: waiting(harness, job_id), what="the job waits")

    assert (job["status"], job["reason"]) == ("waiting", "AWS_ACCESS_KEY_ID is not set")
    assert job["attempts"] == 0


def waiting(harness: Harness, job_id: UUID) -> dict[str, Any] | None:
    job = harness.job(job_id)
    return job if job["reason"] else None


def test_what_is_refused_is_listed_and_the_rest_is_there(harness: Harness, s3: str) -> None:
    (harness.folder / "source" / "out").symlink_to("/etc/hostname")
    harness.worker()

    job = harness.ended(enqueue(harness))

    assert (job["status"], job["error"]["code"]) == ("failed", "keys_refused")
    assert [one["key"] for one in job["error"]["objects"]] == ["out"]
    assert moto.holds(s3, BUCKET) == TREE
    assert "source/" not in harness.logs()


def test_what_another_wrote_meanwhile_stays_and_is_told(
    harness: Harness, s3: str, vendor: Gate
) -> None:
    held = vendor.hold(small, after=30)
    harness.worker()
    job_id = enqueue(harness)
    until(lambda: held.waiting, what="30 objects are there")
    theirs = dict.fromkeys(TREE.keys() - moto.holds(s3, BUCKET).keys(), b"of another")
    for key, data in theirs.items():
        moto.oracle(s3).put_object(Bucket=BUCKET, Key=key, Body=data)
    vendor.open()

    job = harness.ended(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "objects_failed")
    assert {one["key"] for one in job["error"]["objects"]} == theirs.keys()
    assert moto.holds(s3, BUCKET) == {**TREE, **theirs}


def test_a_person_pauses_it_lets_it_go_on_and_cancels_it(
    harness: Harness, s3: str, vendor: Gate
) -> None:
    many = {f"many/{number:03}": b"" for number in range(400)}
    plant(harness.folder / "source", {**many, "large": bytes(20 * 2**20)})
    held, parts = vendor.hold(small, after=20), vendor.hold(part)
    url = harness.api()
    harness.worker()
    batch = f"{url}/v1/batches/{(job_id := enqueue(harness))}"
    until(lambda: held.waiting and parts.waiting, what="20 objects are there")

    assert httpx.post(f"{batch}/pause").json()["status"] == "paused"
    vendor.open()
    until(lambda: running(harness) == 0, what="its parts rest")
    counts = httpx.get(batch).json()["counts"]
    assert sum(counts.values()) == len(TREE) + len(many) + 1
    assert counts["waiting"] + counts["sending"] > 100

    held = vendor.hold(small, after=20)
    httpx.post(f"{batch}/resume").raise_for_status()
    until(lambda: held.waiting, what="it goes on")
    httpx.post(f"{batch}/cancel").raise_for_status()
    vendor.open()
    job = harness.ended(job_id)

    assert job["status"] == "cancelled"
    assert "Uploads" not in moto.oracle(s3).list_multipart_uploads(Bucket=BUCKET)
    assert 20 < len(moto.holds(s3, BUCKET)) < len(many)


def running(harness: Harness) -> int:
    return len(harness.rows("SELECT FROM ferryman.jobs WHERE status = 'running'"))
