"""In which order children start, how they are kept alive, and in which order they stop.

The children of one stage start together; the next stage waits until all of them are ready.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from ferryman.errors import FerrymanError
from worker.supervisor.output import OWN, Output
from worker.supervisor.processes import POLL_SECONDS, Child, Process

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# After a run of this length an end is news, not the next failure in a row.
STEADY_SECONDS = 60.0
FAILURES_AT_START = 5
# Bad settings or usage: starting again would only say the same once more.
BAD_INPUT = 2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a second signal leaves to each stage: enough for PostgreSQL's fast shutdown.
HURRIED_SECONDS = 1.0


class StartFailed(FerrymanError):
    """A child could not be brought up; the message holds its last lines."""

    def __init__(self, child: Child, what: str, log: str, status: int = 1) -> None:
        name = child.process.name
        super().__init__(f"{name} {what}. Its last lines ({log} has all):\n{child.last_lines()}")
        self.status = status


class _Stopped(Exception):
    """A stop was asked for while the start was still under way."""


class _Kept:
    """A child, and when it is to be started again."""

    def __init__(self, process: Process, output: Output) -> None:
        self.child = Child(process, output)
        self.process = process
        self.ready = False
        self._output = output
        self._failures = 0
        self._again_at: float | None = None
        self._started_at = 0.0
        self._deadline = time.monotonic() + process.ready_seconds

    def start(self) -> None:
        self._again_at = None
        self._started_at = time.monotonic()
        self.child.start()

    def tick(self) -> None:
        """Look after it once: notice that it is ready, or that it ended, or start it again."""
        if self.process.once and self.ready:
            return
        if self.child.running:
            self._look_whether_ready()
        elif self.process.once and self.child.status == 0:
            self.ready = True
        elif self._again_at is None:
            self._ended()
        elif time.monotonic() >= self._again_at:
            self.start()
        if not self.ready and time.monotonic() > self._deadline:
            raise self._failed(f"was not ready within {self.process.ready_seconds:g} s")

    def _look_whether_ready(self) -> None:
        if not self.ready and not self.process.once:
            self.ready = self.process.ready is None or self.process.ready()
            if self.ready:
                self._output.line(OWN, f"{self.process.name} is ready")

    def _ended(self) -> None:
        status = self.child.status
        now = time.monotonic()
        self._failures = 1 if now - self._started_at > STEADY_SECONDS else self._failures + 1
        if not self.ready:
            self._give_up_if_hopeless(status)
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (self._failures - 1))
        self._again_at = now + delay
        what = f"ended with status {status}; it is started again in {delay:g} s"
        self._output.line(OWN, f"{self.process.name} {what}")

    def _give_up_if_hopeless(self, status: int | None) -> None:
        if self.process.once or status == BAD_INPUT:
            raise self._failed(f"ended with status {status}")
        if self._failures >= FAILURES_AT_START:
            raise self._failed(f"ended {self._failures} times in a row before it was ready")

    def _failed(self, what: str) -> StartFailed:
        status = BAD_INPUT if self.child.status == BAD_INPUT else 1
        return StartFailed(self.child, what, str(self._output.path(self.process.name)), status)


class Stages:
    """Starts, keeps and stops the processes of all stages."""

    def __init__(self, stages: Sequence[Sequence[Process]], output: Output) -> None:
        self._stages = stages
        self._output = output
        self._started: list[list[_Kept]] = []
        self._signals = 0
        self._hurry_at: float | None = None

    @property
    def children(self) -> dict[str, Child]:
        """Every child started so far, by its name."""
        return {kept.process.name: kept.child for stage in self._started for kept in stage}

    def start(self) -> None:
        """Start stage after stage. Raises StartFailed; what was started then still runs."""
        for stage in self._stages:
            kept = [_Kept(process, self._output) for process in stage]
            self._started.append(kept)
            for one in kept:
                one.start()
            while not all(one.ready for one in kept):
                self._tick()
                if self._signals:
                    raise _Stopped

    def run(self, announce: Callable[[], None] = lambda: None) -> None:
        """Start all, call `announce`, and keep all alive until SIGINT, SIGTERM or SIGHUP; then
        stop all. Raises StartFailed, after stopping, when a child cannot be brought up."""
        with self._handlers():
            try:
                self.start()
                announce()
                while not self._signals:
                    self._tick()
            except _Stopped:
                pass
            finally:
                self.stop()

    def stop(self) -> None:
        """Stop all, the last stage first; each child has its own grace."""
        for stage in reversed(self._started):
            begun = time.monotonic()
            for kept in stage:
                kept.child.signal(kept.process.stop_signal)
            for kept in stage:
                kept.child.finish(partial(self._until, begun, kept.process.grace_seconds))
        self._started.clear()

    def _tick(self) -> None:
        for stage in self._started:
            for kept in stage:
                kept.tick()
        time.sleep(POLL_SECONDS)

    def _until(self, begun: float, grace_seconds: float) -> float:
        """When the patience with a child ends that was asked to stop at `begun`."""
        if self._hurry_at is None:
            return begun + grace_seconds
        return max(begun, self._hurry_at) + min(grace_seconds, HURRIED_SECONDS)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._hurry_at = self._hurry_at or time.monotonic()

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        numbers = list(STOP_SIGNALS)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            numbers.remove(signal.SIGHUP)  # started by nohup
        before = {number: signal.signal(number, self._asked_to_stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
