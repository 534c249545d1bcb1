"""`--wait`: what is said while a job is looked at, and when that ends before the job does."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx

from ferryman import requests
from ferryman.cli import _follow
from tests.client.conftest import CHARGE
from tests.client.test_cli import ID, JOB, URL, answers, run

ENQUEUE = ("enqueue", "charge", "--args", json.dumps(CHARGE))
LINE = f"ferryman: job {ID}; if you stop looking, it goes on\n"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


def interrupted(_: httpx.Request) -> httpx.Response:
    raise KeyboardInterrupt


@respx.mock
def test_the_id_is_told_before_anything_is_waited_for() -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=interrupted)
    result = run(*ENQUEUE, "--wait")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.startswith(LINE)


@respx.mock
def test_without_a_terminal_that_line_is_all() -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers("running", "succeeded"))
    assert run(*ENQUEUE, "--wait").stderr == LINE


@respx.mock
def test_without_waiting_there_is_the_id_alone() -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    result = run(*ENQUEUE)
    assert (result.stdout, result.stderr) == (f"{ID}\n", "")


@respx.mock
@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        ("waiting", "stripe is paused", "waiting (stripe is paused)"),
        ("running", None, "running"),
    ],
)
def test_a_timeout_tells_how_the_job_is(status: str, reason: str | None, told: str) -> None:
    respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    respx.get(f"{URL}/v1/jobs/{ID}").respond(json={**JOB, "status": status, "reason": reason})
    still = f"ferryman: job {ID} is still {told} after 0 s\n"
    enqueued = run(*ENQUEUE, "--wait", "--timeout", "0")
    assert (enqueued.exit_code, enqueued.stderr) == (0, LINE + still)
    assert enqueued.stdout == f"{' '.join(filter(None, (status, reason)))}\n{ID}\n"
    looked = run("job", ID, "--wait", "--timeout", "0", "--json")
    assert (looked.exit_code, looked.stderr) == (0, still)
    assert json.loads(looked.stdout)["status"] == status


@respx.mock
def test_a_timeout_is_not_told_of_a_job_that_ended() -> None:
    respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers("waiting", "failed"))
    result = run("job", ID, "--wait", "--timeout", "60")
    assert (result.exit_code, result.stderr) == (1, "")


class Door:
    """Two looks: the job waits, then it has ended."""

    def __init__(self) -> None:
        self.found = [{**JOB, "reason": "stripe is paused"}, {**JOB, "status": "succeeded"}]

    def job(self, id: UUID, wait: float = 0) -> dict[str, Any]:
        return self.found.pop(0)


def test_on_a_terminal_the_reason_is_shown_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    reason = "charge: waiting (stripe is paused)"
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        found = _follow.job_with_its_reason(Door(), UUID(ID), "charge", None)  # type: ignore[arg-type]
        shown = ""
        while reason not in shown and select.select([ours], [], [], 5)[0]:
            shown += os.read(ours, 65536).decode(errors="replace")
    os.close(ours)
    assert found["status"] == "succeeded"
    assert reason in shown


def test_help_lists_the_kinds_with_their_arguments() -> None:
    _, _, listed = run("enqueue", "--help").stdout.partition("Kinds and their arguments")
    words = " ".join(listed.split())
    assert "charge customer amount currency payment_method [description] [metadata]" in words
    assert "send_email to [template]" in words
    for name, made in requests.kinds().items():
        assert (f" {name} " in words) != made.internal


def test_kinds_are_not_loaded_for_other_help() -> None:
    program = "import sys, ferryman.cli; print('ferryman.requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
