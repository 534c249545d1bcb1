"""Where the children's lines go: to the terminal behind a prefix, and to a log file each."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock
from typing import TextIO

OWN = "ferryman"
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)
PREFIX_WIDTH = 8
ROTATE_BYTES = 20_000_000


class Output:
    """Lines of many children, written by many threads.

    Each child's lines are appended to `<logs>/<name>.log`; past 20 MB the file becomes
    `<name>.log.1`. With `stream` they are shown there as well.
    """

    def __init__(self, logs: Path, stream: TextIO | None = None) -> None:
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._logs = logs
        self._stream = stream
        self._coloured = stream is not None and stream.isatty()
        self._colours: dict[str, int] = {}
        self._lock = Lock()

    def path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def line(self, name: str, text: str, *, show: bool = True) -> None:
        """Record one line of `name`, and show it unless told otherwise."""
        with self._lock:
            self._append(self.path(name), text)
            if show and self._stream is not None:
                self._show(f"{self._prefix(name)} {text}\n")

    def say(self, text: str) -> None:
        """Show a text of several lines without a prefix, and keep it out of the logs."""
        with self._lock:
            self._show(f"{text}\n")

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
                size = file.tell()
            if size > ROTATE_BYTES:
                path.replace(path.with_suffix(".log.1"))
        except OSError:
            # A full disk must not stop the pipes from being read: the children would block.
            return

    def _show(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader of our output has gone (`| head`); the log files still have everything.
            self._stream = None

    def _prefix(self, name: str) -> str:
        prefix = f"{name:<{PREFIX_WIDTH}} |"
        if not self._coloured:
            return prefix
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{prefix}\x1b[0m"


def terminal(logs: Path) -> Output:
    """The output of `ferryman up`."""
    return Output(logs, sys.stdout)
