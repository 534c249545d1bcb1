"""In which order the supervisor's children start and stop, and what happens when one dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Thread

import pytest

from ferryman.settings import alive
from tests.harness import until
from tests.stand_ins import ask_to_stop, program, stand_in
from worker.supervisor import stages as stages_module
from worker.supervisor.output import Output
from worker.supervisor.processes import Process
from worker.supervisor.stages import Stages, StartFailed


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "logs")


def test_each_stage_waits_for_the_one_before_and_stops_ahead_of_it(
    tmp_path: Path, output: Output
) -> None:
    plan = [[stand_in(tmp_path, "a")], [stand_in(tmp_path, "b")], [stand_in(tmp_path, "c")]]
    Stages(plan, output).run(ask_to_stop)
    diary = (tmp_path / "diary").read_text().split("\n")
    assert diary[:3] == ["a ready", "b ready", "c ready"]
    assert diary[3:] == ["c stopped", "b stopped", "a stopped", ""]
    assert output.path("a").read_text() == "at work\n"


def test_a_killed_child_is_started_again_on_its_own(
    tmp_path: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_module, "FIRST_DELAY_SECONDS", 0.1)
    stages = Stages([[stand_in(tmp_path, "a")], [stand_in(tmp_path, "b")]], output)
    seen: list[int] = []

    def strike() -> None:
        seen.extend(child.pid for child in stages.children.values())
        (tmp_path / "a.ready").unlink()
        os.kill(seen[0], signal.SIGKILL)
        until((tmp_path / "a.ready").exists)
        seen.extend(child.pid for child in stages.children.values())
        ask_to_stop()

    stages.run(Thread(target=strike, daemon=True).start)
    assert seen[2] != seen[0]
    assert seen[3] == seen[1]
    assert (
        "a ended with status -9; it is started again in 0.1 s"
        in output.path("ferryman").read_text()
    )


def test_a_child_that_cannot_start_stops_all_and_shows_its_last_lines(
    tmp_path: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_module, "FIRST_DELAY_SECONDS", 0.01)
    broken = program("api", "raise SystemExit('no such table')", ready=lambda: False)
    with pytest.raises(StartFailed, match=r"api ended 5 times in a row(.|\n)*no such table") as it:
        Stages([[stand_in(tmp_path, "a")], [broken]], output).run()
    assert it.value.status == 1
    assert "a stopped" in (tmp_path / "diary").read_text()


def test_bad_settings_are_not_tried_five_times(output: Output) -> None:
    bad = program("worker", "import sys; print('FERRYMAN_X is not set'); sys.exit(2)", ready=bool)
    with pytest.raises(StartFailed, match=r"ended with status 2(.|\n)*FERRYMAN_X") as it:
        Stages([[bad]], output).run()
    assert it.value.status == 2


def test_failed_migrations_end_the_start(tmp_path: Path, output: Output) -> None:
    migrate = program("migrate", "raise SystemExit('wrong revision')", once=True)
    with pytest.raises(StartFailed, match="wrong revision"):
        Stages([[migrate], [stand_in(tmp_path, "a")]], output).run()
    assert not (tmp_path / "diary").exists()


def test_what_runs_once_is_not_started_again(tmp_path: Path, output: Output) -> None:
    once = program("migrate", "print('done')", once=True)
    Stages([[once], [stand_in(tmp_path, "a")]], output).run(ask_to_stop)
    assert output.path("migrate").read_text() == "done\n"


def test_a_child_that_never_gets_ready_is_given_up(output: Output) -> None:
    slow = Process(name="flower", argv=["sleep", "60"], ready=lambda: False, ready_seconds=0.3)
    with pytest.raises(StartFailed, match=r"flower was not ready within 0\.3 s"):
        Stages([[slow]], output).run()


def test_a_child_deaf_to_sigterm_is_killed_after_its_grace(tmp_path: Path, output: Output) -> None:
    deaf = "import signal, pathlib, time; signal.signal(15, signal.SIG_IGN);"
    ready = tmp_path / "ready"
    code = f"{deaf} pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    stages = Stages([[program("deaf", code, ready=ready.exists, grace_seconds=0.3)]], output)
    pids: list[int] = []

    def announce() -> None:
        pids.append(stages.children["deaf"].pid)
        ask_to_stop()

    stages.run(announce)
    assert not alive(pids[0])


def test_a_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.supervisor.output.ROTATE_BYTES", 100)
    output = Output(tmp_path)
    for number in range(100):
        output.line("api", f"line {number}")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) in (["api.log", "api.log.1"], ["api.log.1"])
    assert max(sizes.values()) < 120
