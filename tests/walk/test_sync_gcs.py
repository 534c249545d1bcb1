"""A sync with Cloud Storage by a real worker: from the door to the bucket, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import gcs
from tests.harness import Harness
from tests.walk.test_sync import copied, plant

FILES = 40


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with gcs.running_gcs() as url:
        yield url


def test_a_folder_goes_there_and_comes_back(harness: Harness, server: str) -> None:
    bucket = gcs.new_bucket(server)
    source = plant(harness.folder, FILES)
    local, remote = f"file://{harness.folder}", f"gs://{bucket}/exports"
    harness.env.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    harness.env["GCS_BASE_URL"] = server
    harness.worker()

    there = {"source": f"{local}/source", "destination": remote}
    job = harness.ended(harness.enqueue("sync_objects", there))
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert (job["vendor"], job["result"]["copied"]) == ("gcs", FILES)
    assert gcs.holds(server, bucket) == {f"exports/{key}": data for key, data in source.items()}
    assert len(copied(harness, job["id"])) == FILES

    back = {"source": remote, "destination": f"{local}/back"}
    assert harness.ended(harness.enqueue("sync_objects", back))["status"] == "succeeded"
    folder = harness.folder / "back"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder)): path.read_bytes() for path in files} == source
