"""Syncs through the deaths of their workers: both trees equal byte by byte, nothing sent twice that
was on record, and nothing left behind at the vendor.

Five hundred objects in every run; twenty thousand by `make chaos`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters._storage import PART_BYTES
from ferryman.policies import policy
from tests import asked as what
from tests import gcs, moto
from tests.chaos import stores
from tests.chaos.account import Account
from tests.chaos.conftest import SOAK, Scale, Tabled, long
from tests.chaos.voyage import Voyage, tree_of
from tests.gate import Gate, gate
from tests.harness import Harness
from tests.tasks.trees import plant, tree

BUCKET = "ferryman-chaos"
LARGE = "5/large.bin"
LARGE_BYTES = 20 * 2**20
# The last is the shortest, and may be the first to go.
A_PART = LARGE_BYTES % PART_BYTES
# How long each step may take.
PATIENCE = 600.0 if SOAK else 40.0
# Above what a worker has when it begins, however many objects there are.
MEMORY_MIB = 64
SETTINGS = {
    "FERRYMAN_LEASE_SECONDS": "1",
    "FERRYMAN_BACKOFF_SECONDS": "0.1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def files(harness: Harness, scale: Scale) -> dict[str, bytes]:
    """What the folder `there` holds."""
    harness.env |= {**SETTINGS, **moto.ENVIRONMENT}
    # With one that is large and those that are deleted, as many as the first segment of a plan has.
    made = tree_of(scale(480, 20_000), scale.random)
    plant(harness.folder / "there", made)
    return made


@pytest.fixture
def s3(harness: Harness, files: dict[str, bytes], s3_server: str) -> Iterator[Gate]:
    """The gate before an S3 with an empty bucket."""
    moto.reset(s3_server)
    moto.oracle(s3_server).create_bucket(Bucket=BUCKET)
    with gate(s3_server) as (url, made):
        harness.env["S3_BASE_URL"] = url
        yield made


@pytest.fixture
def bucket(harness: Harness, files: dict[str, bytes], gcs_server: str) -> str:
    harness.env["GCS_BASE_URL"] = gcs_server
    return gcs.new_bucket(gcs_server)


def at(folder: Path) -> str:
    return f"file://{folder}"


def test_five_kills_on_the_way_to_a_bucket_and_more_on_the_way_back(
    harness: Harness,
    s3: Gate,
    s3_server: str,
    files: dict[str, bytes],
    scale: Scale,
    tabled: Tabled,
) -> None:
    there, back = harness.folder / "there", harness.folder / "back"
    files[LARGE] = scale.random.randbytes(LARGE_BYTES)
    plant(there, {LARGE: files[LARGE]})
    surplus = {f"exports/old-{n:05}": b"old" for n in range(len(files) // 30)}
    stores.fill(s3_server, BUCKET, surplus)

    remote = f"s3://{BUCKET}/exports"
    voyage = Voyage(
        harness, s3, PATIENCE, source=at(there), destination=remote, delete=True, force=True
    )
    killed_five_times(voyage, scale)
    job = voyage.ended()

    assert job["error"] is None, job["error"]
    assert (job["result"]["copied"], job["result"]["deleted"]) == (len(files), len(surplus))
    held = stores.s3_holds(s3_server, BUCKET)
    made = accounted(voyage, {f"exports/{key}": data for key, data in files.items()}, held)
    made.unexplained.extend(left_behind(s3_server))
    told(voyage, made, tabled)

    assert_comes_back(harness, s3, remote, back, scale, tabled)
    assert tree(back) == files


def killed_five_times(voyage: Voyage, scale: Scale) -> None:
    """In its plan; when the upload in parts is begun and nobody has heard of it; after one of its
    parts; when it is complete and nobody has heard of it; when the deletes are done and nobody has
    heard of that. Small objects are on their way each time but the first and the last."""
    voyage.kill_planner(scale(0, 1000))
    for match, after, answers, least in (
        (what.begin, 0, True, 0),
        (what.part, 1, False, A_PART),
        (what.complete, 0, True, A_PART),
    ):
        large = voyage.vendor.hold(match, after, answers=answers)
        if SOAK:
            # There are many parts: were all of them held, that of the large one would not begin.
            voyage.start()
            voyage.reach(large)
        small = voyage.vendor.hold(what.small, few(scale), answers=scale.random.random() < 0.5)
        if not SOAK:
            voyage.start()
        voyage.kill_at(small, large, bytes_done=least)
    deletes = voyage.vendor.hold(what.delete, answers=True)
    voyage.start()
    voyage.kill_at(deletes)
    voyage.start()


def few(scale: Scale) -> int:
    """So many pass before the next kill."""
    return scale.random.randrange(20, scale(100, 2000))


def assert_comes_back(
    harness: Harness, s3: Gate, remote: str, back: Path, scale: Scale, tabled: Tabled
) -> None:
    """Through kills while the objects are read: after, and before they are."""
    s3.whole.clear()
    # The worker that is left of the way there would be a second one.
    harness.kill(harness.processes[-1])
    voyage = Voyage(harness, s3, PATIENCE, source=remote, destination=at(back))
    for answers in (True, False) if SOAK else (True,):
        reads = s3.hold(what.read, few(scale), answers=answers)
        voyage.start()
        voyage.kill_at(reads)
    voyage.start()
    job = voyage.ended()
    assert job["error"] is None, job["error"]
    told(voyage, accounted(voyage, {}, {}), tabled)


@pytest.mark.parametrize("source", [pytest.param("folder", marks=long), "s3"])
def test_a_kill_on_the_way_to_cloud_storage(
    harness: Harness,
    s3: Gate,
    s3_server: str,
    bucket: str,
    gcs_server: str,
    files: dict[str, bytes],
    scale: Scale,
    tabled: Tabled,
    source: str,
) -> None:
    start = at(harness.folder / "there")
    if source == "s3":
        stores.fill(s3_server, BUCKET, files)
        shutil.rmtree(harness.folder / "there")
        start = f"s3://{BUCKET}"
    with gate(gcs_server) as (url, vendor):
        harness.env["GCS_BASE_URL"] = url
        voyage = Voyage(
            harness, vendor, PATIENCE, source=start, destination=f"gs://{bucket}/exports"
        )
        small = vendor.hold(what.small, few(scale), answers=source == "s3")
        voyage.start()
        voyage.kill_at(small)
        voyage.start()
        job = voyage.ended()

        assert job["error"] is None, job["error"]
        wanted = {f"exports/{key}": data for key, data in files.items()}
        told(voyage, accounted(voyage, wanted, stores.gcs_holds(gcs_server, bucket)), tabled)


def left_behind(server: str) -> list[str]:
    """Uploads in parts that nobody will end."""
    found = moto.oracle(server).list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
    return [f"an upload to {upload['Key']}" for upload in found]


def accounted(voyage: Voyage, wanted: dict[str, bytes], held: dict[str, bytes]) -> Account:
    """The tree that was to be, the one that is, what arrived at the gate, and the ledger."""
    ends, counts = voyage.ends(), voyage.look()["counts"]
    done = sum(n for (_, outcome), n in ends.items() if outcome == "done")
    unexplained = [f"{n} objects are {end}" for end, n in ends.items() if end[1] != "done"]
    unexplained += [f"open in the ledger: {row['target']}" for row in voyage.unfinished()]
    unexplained += [f"{key} was not asked for" for key in held.keys() - wanted.keys()]
    if counts["sent"] + (counts["kept"] or 0) != done:
        unexplained.append(f"the batch counts {counts}, the ledger {ends}")
    return Account(
        jobs=done,
        lost=[key for key, data in wanted.items() if held.get(key) != data],
        twice=voyage.twice(),
        unexplained=unexplained,
        statuses=Counter({f"{action} {outcome}": n for (action, outcome), n in ends.items()}),
    )


def told(voyage: Voyage, made: Account, tabled: Tabled) -> None:
    """Into the table; accepts no deviation."""
    tabled(made)
    extra, kills = voyage.repeated(), len(voyage.on_record)
    attempts = voyage.attempts()
    print(f"{made.jobs} objects, {kills} kills, {extra} contents once more; {dict(attempts)}")
    print(f"memory of a worker: {voyage.idle:.0f} MiB, at most {voyage.memory:.0f}")
    assert made.clean, made
    in_flight = policy("s3").concurrency * (policy("s3").batch_in_flight or 1)
    assert extra <= kills * in_flight
    # Before anything is written once more, a look tells that it is there.
    assert extra == 0 or all(content.method == "GET" for content in voyage.vendor.whole)
    assert attempts["lease_lost"] >= kills
    assert set(attempts) <= {"lease_lost", "succeeded", "waited"}
    assert voyage.memory - voyage.idle <= MEMORY_MIB
