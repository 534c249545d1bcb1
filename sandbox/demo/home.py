"""Where does the demo keep its things, and what does it see of the caller's environment?"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ferryman.errors import FerrymanError

ROOT = Path(__file__).resolve().parents[2]
# All else stays outside: a key, an address or a proxy of the caller's would change what happens.
KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "LD_LIBRARY_PATH"),
)
# Short times, so that a breaker opens and closes and a lease runs out while one looks on.
SETTINGS = {
    "FERRYMAN_BREAKER_FAIL_MAX": "5",
    "FERRYMAN_BREAKER_RESET_SECONDS": "2",
    "FERRYMAN_BACKOFF_SECONDS": "0.3",
    "FERRYMAN_LEASE_SECONDS": "5",
}
# How long servers of a demo that was killed may take to end.
LEFT_BEHIND_SECONDS = 20.0


class HomeInUse(FerrymanError):
    """Another demo runs in this checkout: wait for its end, or set FERRYMAN_HOME."""


class NotOurs(FerrymanError):
    """The demo's folder cannot be emptied."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"{folder} cannot be emptied ({error.strerror}: {error.filename}): remove it, or set"
            " FERRYMAN_HOME to a folder of yours"
        )


def folder(given: Mapping[str, str]) -> Path:
    """The demo's own folder, below FERRYMAN_HOME where that is set."""
    home = given.get("FERRYMAN_HOME")
    return (Path(home) if home else ROOT / ".ferryman").absolute() / "demo"


def environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """The whole environment of the demo and its children."""
    kept = {name: given[name] for name in KEPT if name in given}
    return {**kept, **SETTINGS, "FERRYMAN_HOME": str(home)}


def empty(home: Path) -> None:
    """Make the folder anew. Raises HomeInUse or NotOurs."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with open(home / "lock", "a+") as lock:
            _hold(lock)
            _clear(home)
    except OSError as error:
        raise NotOurs(home, error) from None


def _hold(lock: TextIO) -> None:
    """The lock that `ferryman up` and its servers hold as long as they run."""
    until = time.monotonic() + LEFT_BEHIND_SECONDS
    while True:
        try:
            return fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _alive(lock) or time.monotonic() > until:
                raise HomeInUse from None
        time.sleep(0.05)


def _alive(lock: TextIO) -> bool:
    lock.seek(0)
    holder = lock.read()
    return holder.isdigit() and os.path.exists(f"/proc/{holder}")


def _clear(home: Path) -> None:
    # Started by root below a closed folder, `ferryman up` keeps the database elsewhere.
    if (database := home / "postgres").is_symlink() and database.exists():
        shutil.rmtree(database.resolve())
    for entry in home.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
