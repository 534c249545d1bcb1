"""How the worker processes of this machine tell that they are well: one small file each.

Times are those of the system's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ferryman.settings import alive


@dataclass(frozen=True)
class Pulse:
    """When each part of a worker process last showed itself, and how long it may be silent.

    `born`: the process's own start, since another may have its number by now.
    """

    pid: int
    born: str
    at: dict[str, float]
    limits: dict[str, float]

    def stale(self) -> dict[str, float]:
        """The seconds of silence of each part that is silent for too long."""
        now = time.monotonic()
        silent = {part: now - seen for part, seen in self.at.items()}
        return {part: age for part, age in silent.items() if age > self.limits[part]}


def folder() -> Path:
    """In the temporary folder: there a container may write whose own files are read-only."""
    return Path(tempfile.gettempdir()) / f"ferryman-{os.getuid()}" / "health"


def prepared() -> Path:
    """The folder, made if need be. Raises OSError where it is not ours alone."""
    where = folder()
    for part in (where.parent, where):
        part.mkdir(mode=0o700, exist_ok=True)
        found = part.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{part} is not a folder of this user alone")
    return where


def write(where: Path, pulse: Pulse) -> None:
    """Replace the process's file, so that nobody reads half of one. Raises OSError."""
    new = where / f"{pulse.pid}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(pulse), file)
    new.replace(where / f"{pulse.pid}.json")


def pulses() -> Iterator[Pulse]:
    """Those of all living worker processes of this user; what the dead left is removed."""
    try:
        files = sorted(prepared().glob("*.json"))
    except OSError:
        return
    for file in files:
        try:
            pulse = Pulse(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        if alive(pulse.pid) and born(pulse.pid) == pulse.born:
            yield pulse
        else:
            file.unlink(missing_ok=True)


def born(pid: int) -> str:
    """When the process began, in the system's own words; empty where it does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
