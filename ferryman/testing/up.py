"""How is `ferryman up --sandbox` started for tests and the demo, and stopped whatever happens?"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferryman._root import command, environment
from ferryman.errors import FerrymanError
from ferryman.settings import STATE_FILE

START_SECONDS = 90.0
STOP_SECONDS = 60.0
LAST_LINES = 25
PR_SET_PDEATHSIG = 1  # prctl(2)
# What `ferryman up` has left in its home when it has come so far.
MILESTONES = (
    ("logs/migrate.log", "PostgreSQL and Valkey run; the ledger's tables are made"),
    ("logs/sandbox.log", "the fake vendors start: Stripe, PayPal, SendGrid, Twilio and S3"),
    ("logs/api.log", "the HTTP API listens"),
    ("worker.ready", "a Celery worker waits for jobs"),
    (STATE_FILE, "Flower watches"),
)

State = dict[str, Any]
Say = Callable[[str], None]


class NotUp(FerrymanError):
    """`ferryman up` did not start or stop as it should; the message holds the end of its log."""

    def __init__(self, what: str, log: Path) -> None:
        with log.open(errors="replace") as file:
            lines = "".join(f"    {line}" for line in deque(file, LAST_LINES))
        super().__init__(f"`ferryman up --sandbox` {what}. The end of {log}:\n{lines}")


@contextmanager
def up(
    home: Path, say: Say = lambda words: None, env: Mapping[str, str] | None = None
) -> Iterator[State]:
    """Everything running, its data in `home`; what `up.json` holds. `env`: the whole environment,
    by default this process's. Raises NotInstalled, and NotUp also if it does not stop in order."""
    log = home / "up.log"
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - our own command
            command("-m", "worker.supervisor", "--sandbox"),
            # No `.env` is found here.
            cwd=home,
            env={**(environment() if env is None else env), "FERRYMAN_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the caller alone, which then stops its child.
            start_new_session=True,
            preexec_fn=_end_with(ctypes.CDLL(None), os.getpid()),  # noqa: PLW1509 - takes no lock
        )
    try:
        yield _ready(child, home, log, say)
    finally:
        status = _stop(child)
    if status != 0:
        raise NotUp(f"was asked to stop and ended with status {status}", log)


def _end_with(libc: ctypes.CDLL, parent: int) -> Callable[[], None]:
    """What the child does before it runs: ask to be stopped when its parent dies."""

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM.value, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _ready(child: subprocess.Popen[bytes], home: Path, log: Path, say: Say) -> State:
    until = time.monotonic() + START_SECONDS
    for name, words in MILESTONES:
        while not (home / name).exists():
            if (status := child.poll()) is not None:
                raise NotUp(f"ended with status {status}", log)
            if time.monotonic() > until:
                raise NotUp(f"was not ready within {START_SECONDS:g} s", log)
            time.sleep(0.05)
        say(words)
    state: State = json.loads((home / STATE_FILE).read_text())
    return state


def _stop(child: subprocess.Popen[bytes]) -> int:
    """Orderly; a second Ctrl-C makes it hurry. Returns its status."""
    child.terminate()
    until = time.monotonic() + STOP_SECONDS
    while True:
        try:
            return child.wait(until - time.monotonic())
        except KeyboardInterrupt:
            child.terminate()
        except subprocess.TimeoutExpired:
            # Its own children get a signal when it dies.
            child.kill()
            return child.wait()
