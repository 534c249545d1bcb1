"""Is this worker process well? A thread watches the event loop, tells `ferryman health` of it,
logs where a blocked loop hangs, and ends the process of one that is silent beyond all deadlines."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import structlog

from ferryman import _health
from ferryman._health import Pulse

log = structlog.get_logger()

TICK_SECONDS = 0.25
WRITE_SECONDS = 1.0
BLOCKED_SECONDS = 1.0
# The loop's and the relay's; a heartbeat is late when its lease is over.
SILENT_SECONDS = 10.0
# Past the longest deadline: an attempt that was cancelled still has to be written down.
SPARE_SECONDS = 30.0
# `EX_SOFTWARE`: whoever restarts workers starts a new one, and this one's lease runs out.
HUNG = 70

_seen: dict[str, float] = {}


def mark(part: str) -> None:
    """`part` (loop, heartbeat, relay) shows that it is alive. For any thread."""
    _seen[part] = time.monotonic()


class Watch:
    """Watches the running event loop; made on it."""

    def __init__(
        self,
        *,
        lease_seconds: float,
        longest_seconds: float,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._limits = {
            "loop": SILENT_SECONDS,
            "heartbeat": max(lease_seconds, SILENT_SECONDS),
            "relay": SILENT_SECONDS,
        }
        self._hung_seconds = longest_seconds + SPARE_SECONDS
        self._end = end
        self._stopping = threading.Event()
        self._turned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ferryman-health", daemon=True)
        self._folder = _folder()
        self._born = _health.born(os.getpid())
        self._told = True

    def start(self) -> None:
        for part in self._limits:
            mark(part)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        if self._folder:
            (self._folder / f"{os.getpid()}.json").unlink(missing_ok=True)

    def _run(self) -> None:
        silent = written = 0.0
        self._ask()
        while not self._stopping.wait(TICK_SECONDS):
            if self._turned.is_set():
                silent = 0.0
                mark("loop")
                self._ask()
            else:
                silent = self._still_silent(silent)
            if (now := time.monotonic()) - written >= WRITE_SECONDS:
                self._write()
                written = now

    def _ask(self) -> None:
        self._turned.clear()
        self._loop.call_soon_threadsafe(self._turned.set)

    def _still_silent(self, so_far: float) -> float:
        # Ticks are counted, not time: a process that was frozen as a whole has nothing to explain.
        silent = so_far + TICK_SECONDS
        if so_far < BLOCKED_SECONDS <= silent:
            log.warning("loop.blocked", seconds=silent, stack=self._stack())
        if silent >= self._hung_seconds:
            log.error("loop.hung", seconds=silent, stack=self._stack())
            self._end(HUNG)
        return silent

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def _write(self) -> None:
        if self._folder is None:
            return
        try:
            _health.write(self._folder, Pulse(os.getpid(), self._born, dict(_seen), self._limits))
            self._told = True
        except OSError as error:
            if self._told:
                log.warning("health.not_told", error=type(error).__name__)
            self._told = False


def _folder() -> Path | None:
    try:
        return _health.prepared()
    except OSError as error:
        log.warning("health.not_told", error=str(error))
        return None
