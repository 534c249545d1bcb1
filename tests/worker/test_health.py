"""A worker tells that it is well; a loop that hangs is logged with its place, and ended at last."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ferryman import _health
from ferryman._health import Pulse
from ferryman.cli import main
from tests.harness import Harness, until
from worker import health
from worker.health import Watch

LIMITS = {"loop": 10.0, "heartbeat": 30.0, "relay": 10.0}


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the watch logs."""
    lines: list[dict[str, Any]] = []

    class Log:
        def warning(self, event: str, **values: Any) -> None:
            lines.append({"event": event, **values})

        error = warning

    monkeypatch.setattr(health, "log", Log())
    return lines


def asked() -> Result:
    return CliRunner().invoke(main, ["health"])


def pulse(born: str | None = None, **silent: float) -> Pulse:
    """One of this process, whose parts showed themselves so many seconds ago."""
    now = time.monotonic()
    at = {part: now - silent.get(part, 0.0) for part in LIMITS}
    return Pulse(os.getpid(), born or _health.born(os.getpid()), at, LIMITS)


def test_nobody_is_not_well() -> None:
    result = asked()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no worker" in result.stderr


@pytest.mark.parametrize(
    ("silent", "code", "said"),
    [
        ({}, 0, "well"),
        ({"loop": 9.0, "heartbeat": 29.0}, 0, "well"),
        ({"relay": 11.0}, 1, "no sign of its relay for 11 s"),
        (
            {"loop": 12.0, "heartbeat": 31.0},
            1,
            "its loop for 12 s, no sign of its heartbeat for 31",
        ),
    ],
)
def test_a_silent_part_is_named(silent: dict[str, float], code: int, said: str) -> None:
    _health.write(_health.prepared(), pulse(**silent))
    result = asked()
    assert result.exit_code == code
    assert result.stdout.startswith(f"worker {os.getpid()}: ")
    assert said in result.stdout


def test_another_process_under_the_same_number_counts_for_nothing() -> None:
    _health.write(_health.prepared(), pulse(born="long ago"))
    assert asked().exit_code == 1
    assert list(_health.folder().iterdir()) == []


def test_a_folder_open_to_others_is_not_believed() -> None:
    _health.write(_health.prepared(), pulse())
    _health.folder().chmod(0o777)
    with pytest.raises(PermissionError):
        _health.prepared()
    assert asked().exit_code == 1


def test_a_worker_tells_of_itself_as_long_as_it_lives(harness: Harness, tmp_path: Path) -> None:
    worker = harness.worker(TMPDIR=str(tmp_path))
    file = _health.folder() / f"{worker.pid}.json"
    until(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    assert _health.folder().stat().st_mode & 0o777 == 0o700
    first = next(_health.pulses())
    until(lambda: _later(first, next(_health.pulses())), what="each part showed itself again")
    assert asked().stdout == f"worker {worker.pid}: well\n"
    other = harness.worker(TMPDIR=str(tmp_path))
    until(lambda: len(list(_health.pulses())) == 2)
    harness.kill(worker)
    assert [found.pid for found in _health.pulses()] == [other.pid]
    assert harness.stop(other) == 0
    assert list(_health.folder().iterdir()) == []


def _later(first: Pulse, then: Pulse) -> bool:
    return all(then.at[part] > first.at[part] for part in LIMITS)


async def watched(block: Callable[[], None], longest_seconds: float = 3600.0) -> list[int]:
    """Watch a loop that something blocks; the exit statuses that the process was ended with."""
    ended: list[int] = []
    watch = Watch(lease_seconds=30, longest_seconds=longest_seconds, end=ended.append)
    watch.start()
    await asyncio.sleep(0.3)
    block()
    await asyncio.to_thread(watch.stop)
    return ended


def hang() -> None:
    time.sleep(1.6)


async def test_a_blocked_loop_is_logged_once_with_its_stack(logged: list[dict[str, Any]]) -> None:
    assert await watched(hang) == []
    (line,) = logged
    assert line["event"] == "loop.blocked"
    assert "in hang" in line["stack"]


async def test_a_busy_loop_is_left_alone(logged: list[dict[str, Any]]) -> None:
    for _ in range(3):
        assert (
            await watched(lambda: time.sleep(0.2), longest_seconds=-health.SPARE_SECONDS + 1) == []
        )
    assert logged == []


async def test_a_loop_silent_beyond_all_deadlines_ends_the_process(
    logged: list[dict[str, Any]],
) -> None:
    ended = await watched(hang, longest_seconds=-health.SPARE_SECONDS + 0.5)
    assert set(ended) == {health.HUNG}
    assert logged[0]["event"] == "loop.hung"
    assert "in hang" in logged[0]["stack"]


async def test_a_process_that_was_frozen_has_nothing_to_explain(
    logged: list[dict[str, Any]],
) -> None:
    watch = Watch(lease_seconds=30, longest_seconds=60, end=lambda _: pytest.fail("ended"))
    health._seen["loop"] = time.monotonic() - 3600
    silent = 0.0
    for _ in range(3):
        silent = watch._still_silent(silent)
    assert silent == 3 * health.TICK_SECONDS
    assert logged == []
