"""A sync with Cloud Storage by a real worker: from another cloud to the bucket, and to a folder."""

from __future__ import annotations

from tests import gcs, moto
from tests.harness import Harness
from tests.tasks.syncs import under
from tests.tasks.trees import tree

BUCKET = "ferryman-tests"
TREE = {f"{number % 7}/{number:03}": b"%d" % number for number in range(40)}


def test_objects_go_from_cloud_to_cloud_and_into_a_folder(
    harness: Harness, s3_server: str, gcs_server: str
) -> None:
    moto.reset(s3_server)
    s3 = moto.oracle(s3_server)
    s3.create_bucket(Bucket=BUCKET)
    for key, data in TREE.items():
        s3.put_object(Bucket=BUCKET, Key=f"in/{key}", Body=data)
    bucket = gcs.new_bucket(gcs_server)
    harness.env.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    harness.env |= {**moto.ENVIRONMENT, "S3_BASE_URL": s3_server, "GCS_BASE_URL": gcs_server}
    harness.worker()
    remote, folder = f"gs://{bucket}/exports", harness.folder / "target"

    for source, target in ((f"s3://{BUCKET}/in", remote), (remote, f"file://{folder}")):
        ends = {"source": source, "destination": target}
        job = harness.ended(harness.enqueue("sync_objects", ends))
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert (job["vendor"], job["result"]["copied"]) == ("gcs", len(TREE))

    assert gcs.holds(gcs_server, bucket) == under("exports", TREE)
    assert tree(folder) == TREE
