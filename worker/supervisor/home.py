"""What `FERRYMAN_HOME` holds: one supervisor's lock, what it remembers, and what it tells others.

`lock` is held by the supervisor and its servers; `servers.json` keeps passwords and ports between
starts; `up.json` tells other commands where everything is, while it runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferryman.errors import FerrymanError
from ferryman.settings import STATE_FILE, alive

# How long servers of a killed supervisor may take to end; PostgreSQL needs a second or two.
LEFT_BEHIND_SECONDS = 20.0


class HomeInUse(FerrymanError):
    """Another supervisor runs in the same home folder."""

    def __init__(self, folder: Path, pid: int) -> None:
        holder = f"process {pid}" if alive(pid) else "servers of an earlier run"
        super().__init__(
            f"{folder} is in use by {holder}: stop that one first, or set FERRYMAN_HOME to"
            " another folder"
        )


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold the folder's lock; yields its descriptor, to be passed to every server.

    The lock lasts until the last holder has closed it. So servers that outlive a killed
    supervisor for a moment keep a new one from starting a second server on the same files.
    Raises HomeInUse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", opener=_private) as file:
        _lock(folder, file.fileno())
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _lock(folder: Path, descriptor: int) -> None:
    deadline = time.monotonic() + LEFT_BEHIND_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            written = (folder / "lock").read_text()
        pid = int(written) if written.isdigit() else 0
        if alive(pid) or time.monotonic() > deadline:
            raise HomeInUse(folder, pid)
        time.sleep(0.05)


class Memory:
    """What is the same at the next start: passwords and ports, in a file of mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "servers.json"
        self._values: dict[str, Any] = {}
        if self._path.exists():
            self._values = json.loads(self._path.read_text())

    def password(self, name: str) -> str:
        """The password of that name, invented at its first use."""
        key = f"{name}_password"
        if key not in self._values:
            self._keep(key, secrets.token_urlsafe(18))
        return str(self._values[key])

    def port(self, name: str) -> int | None:
        value = self._values.get(f"{name}_port")
        return None if value is None else int(value)

    def keep_port(self, name: str, port: int) -> None:
        self._keep(f"{name}_port", port)

    def _keep(self, key: str, value: str | int) -> None:
        self._values[key] = value
        write_private(self._path, self._values)


def write_private(path: Path, document: dict[str, Any]) -> None:
    """Replace a JSON file in one step, readable by its owner alone."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with open(fresh, "w", opener=_private) as file:
        json.dump(document, file, indent=2)
    fresh.replace(path)


@contextmanager
def announced(folder: Path, state: dict[str, Any]) -> Iterator[None]:
    """While this lasts, other commands find the running servers through `up.json`."""
    path = folder / STATE_FILE
    write_private(path, state)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
