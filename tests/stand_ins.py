"""Small programs in the place of ferryman's own, to try the supervisor with."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from worker.supervisor.processes import Process

# Says in `diary` when it starts and when it is asked to stop; is ready 0.2 s after its start.
STAND_IN = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def note(what):
    with (folder / "diary").open("a") as diary:
        diary.write(f"{name} {what}\\n")
def stop(*_):
    note("stopped")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
time.sleep(0.2)
note("ready")
(folder / f"{name}.ready").touch()
print("at work", flush=True)
signal.pause()
"""


def stand_in(folder: Path, name: str, **rest: object) -> Process:
    ready = (folder / f"{name}.ready").exists
    argv = [sys.executable, "-c", STAND_IN, name, str(folder)]
    return Process(name=name, argv=argv, ready=ready, **rest)  # type: ignore[arg-type]


def program(name: str, code: str, **rest: object) -> Process:
    return Process(name=name, argv=[sys.executable, "-c", code], **rest)  # type: ignore[arg-type]


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
