"""How one child process is started, watched and ended.

A child runs in a session of its own, so that Ctrl-C reaches the supervisor alone, and gets a
signal from the kernel when the supervisor dies, so that none is left behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO

from worker.supervisor.output import Output

LAUNCHER = Path(__file__).with_name("launch.py")
LAST_LINES = 15
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Account:
    """An existing account of this machine, to run a program as."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Process:
    """What to run, when it counts as ready, and how it is ended. Times in seconds."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))  # all of it
    cwd: Path | None = None
    account: Account | None = None  # None: the supervisor's
    pass_fds: Sequence[int] = ()
    ready: Callable[[], bool] | None = None  # None: as soon as it runs
    ready_seconds: float = 60.0
    once: bool = False  # runs to its end, which counts as ready if the status is 0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL  # when the supervisor dies
    grace_seconds: float = 10.0  # between the stop signal and SIGKILL
    show: bool = True  # on the terminal as well, not only in the log file


def launched(
    argv: Sequence[str], death_signal: signal.Signals, account: Account | None = None
) -> list[str]:
    """The command line that runs `argv` as that account, and signals it when we die."""
    who = account or Account(-1, -1)
    numbers = (death_signal.value, os.getpid(), who.uid, who.gid)
    return [sys.executable, "-I", "-S", str(LAUNCHER), *map(str, numbers), *argv]


def bare_environment() -> dict[str, str]:
    """What a server needs of our environment. The rest may hold vendors' keys, and the account
    that runs PostgreSQL may be shared with others."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


class Child:
    """One process that may be started again and again. Start it from the main thread only:
    the kernel sends the death signal when the *thread* that started the child ends."""

    def __init__(self, process: Process, output: Output) -> None:
        self.process = process
        self._output = output
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._popen: subprocess.Popen[str] | None = None
        self._pump: Thread | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.process.name} was not started"
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        assert self._popen is not None, f"{self.process.name} was not started"
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        self._lines.clear()
        self._popen = subprocess.Popen(  # noqa: S603  # our own list of programs
            launched(self.process.argv, self.process.death_signal, self.process.account),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.process.env,
            cwd=self.process.cwd,
            pass_fds=self.process.pass_fds,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        assert self._popen.stdout is not None
        self._pump = Thread(target=self._read, args=(self._popen.stdout,), daemon=True)
        self._pump.start()

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the child and whatever it started in its session; waits for its end."""
        if self._popen is not None and self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def finish(self, until: Callable[[], float]) -> None:
        """Wait for its end until that moment of the monotonic clock, then insist."""
        while self.running and time.monotonic() < until():
            time.sleep(POLL_SECONDS)
        self.kill()
        if self._pump is not None:
            self._pump.join(1)

    def last_lines(self) -> str:
        """What it said last, for an error message."""
        if self._pump is not None and not self.running:
            self._pump.join(1)
        return "\n".join(f"    {line}" for line in self._lines) or "    (it said nothing)"

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                text = line.rstrip("\n")
                self._lines.append(text)
                self._output.line(self.process.name, text, show=self.process.show)
