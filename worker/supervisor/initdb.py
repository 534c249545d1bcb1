"""How PostgreSQL's data folder is made: once, by the account that runs the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from ferryman.errors import FerrymanError
from worker.supervisor.processes import Account, bare_environment, launched


class InitFailed(FerrymanError):
    """PostgreSQL's data folder could not be made; the message holds what initdb said."""


def initialised(place: Path, programs: Path, account: Account | None, password: str) -> Path:
    """PostgreSQL's data folder, made by initdb if it is not there yet: in one step, so that a
    start that was cut off leaves nothing half made. Raises InitFailed."""
    data = place / "data"
    if data.exists():
        return data
    fresh = place / "unfinished"
    shutil.rmtree(fresh, ignore_errors=True)
    program = [str(programs / "initdb"), "-D", str(fresh), "-U", "ferryman"]
    flags = ["-E", "UTF8", "--no-locale", "-A", "scram-sha-256", "--pwfile=/dev/stdin"]
    reading = _readable(password, account)
    made = subprocess.run(  # noqa: S603  # our own program
        launched([*program, *flags], signal.SIGKILL, account),
        stdin=reading,
        env=bare_environment(),
        cwd=place,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    os.close(reading)
    if made.returncode != 0:
        raise InitFailed(f"PostgreSQL's data folder could not be made:\n{made.stdout}")
    fresh.rename(data)
    return data


def _readable(password: str, account: Account | None) -> int:
    """A pipe that holds the password, and that the account may open by the name /dev/stdin."""
    reading, writing = os.pipe()
    if account is not None:
        os.fchown(reading, account.uid, account.gid)
    os.write(writing, f"{password}\n".encode())
    os.close(writing)
    return reading
