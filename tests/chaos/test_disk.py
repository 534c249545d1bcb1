"""A disk that is really full. Needs the right to mount one; soak only."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from ferryman.testing import Sandbox
from tests.chaos.conftest import Accounted
from tests.chaos.people import CHARGES, PATIENT, mail
from tests.chaos.servers import Breakable, breakable
from tests.harness import Harness, until

MEBIBYTES = 400


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system in memory, just large enough for PostgreSQL and its log."""
    # Where the account that runs PostgreSQL can reach it, whoever runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="ferryman-disk-", dir="/var/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m,mode=0755", "tmpfs", str(folder)]
    tried = subprocess.run(mount, capture_output=True, text=True, check=False)
    if tried.returncode:
        folder.rmdir()
        pytest.skip(f"a file system cannot be mounted here: {tried.stderr.strip()}")
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def servers(small_disk: Path) -> Iterator[Breakable]:
    with breakable(small_disk) as made:
        assert not (small_disk / "postgres").is_symlink(), "its data is on another disk"
        yield made


def test_a_disk_that_fills_up_in_the_middle_of_a_run(
    servers: Breakable, small_disk: Path, sandbox: Sandbox, tmp_path: Path, accounted: Accounted
) -> None:
    """PostgreSQL refuses to write, or goes down over its log, and comes back with some space."""
    sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.2}])
    with Harness(servers.ledger(), servers.broker, sandbox, tmp_path) as harness:
        jobs = [harness.charge(n=n) if n % 2 else mail(harness, n) for n in range(300)]
        worker = harness.worker(FERRYMAN_CONCURRENCY="4", **PATIENT)
        until(lambda: len(harness.rows(SUCCEEDED)) > 40, what="some succeeded")
        filler = small_disk / "filler"
        fill(filler)
        time.sleep(8)
        assert shutil.disk_usage(small_disk).free < 1_000_000
        filler.unlink()
        servers.repair()
        harness.connection = psycopg.connect(
            harness.database, autocommit=True, row_factory=dict_row
        )

        assert harness.all_ended(jobs, seconds=120) == {"succeeded": 300}
        assert worker.poll() is None
        accounted(harness, jobs)


SUCCEEDED = "SELECT FROM ferryman.jobs WHERE status = 'succeeded'"


def fill(path: Path) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 65_536):
            pass
