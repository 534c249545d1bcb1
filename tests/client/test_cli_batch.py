"""`ferryman batch`: what is asked, what is said, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import respx

from ferryman.cli import _batches
from tests.client.conftest import read_all
from tests.client.test_cli import ID, JOB, URL, assert_refused, run
from tests.harness import Harness

BULK = {**JOB, "kind": "bulk_email", "batch_id": ID, "run_at": "2026-01-01T00:00:00Z"}
AT = "2030-01-31T09:00:00Z"
BATCH: dict[str, Any] = {
    "id": ID,
    "kind": "bulk_email",
    "status": "running",
    "reason": None,
    "per_minute": None,
    "created_at": AT,
    "planned_at": AT,
    "finished_at": None,
    "delivery": {},
}
NO_ANSWER = httpx.ConnectError("refused")
GONE = {"type": "/problems/not-found", "title": "T", "detail": "There is no batch with that id."}
RECIPIENTS = f"{URL}/v1/batches/{ID}/recipients"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr(_batches, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(_batches, "LONGEST_PAUSE", 0.0)


def batch(status: str = "done", rest: dict[str, Any] | None = None, **counts: int) -> Any:
    numbers = {"waiting": 0, "sending": 0, "unknown": 0, **counts}
    told = {"status": status, "total": sum(counts.values()), "counts": numbers}
    return {**BATCH, **told, **(rest or {})}


def answers(*documents: dict[str, Any]) -> list[httpx.Response]:
    return [httpx.Response(200, json=document) for document in documents]


def looks(*documents: dict[str, Any]) -> respx.Route:
    """How the batch is at each look."""
    return respx.get(f"{URL}/v1/batches/{ID}").mock(side_effect=answers(*documents))


@respx.mock
def test_a_table_of_what_was_done_and_of_what_the_vendor_told() -> None:
    delivery = {"delivered": 900, "bounced": 24, "opened": 0}
    found = batch("done", {"delivery": delivery}, sent=960, invalid=40, unknown=0)
    looks(found, found)
    result = run("batch", ID)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["status", "done"] in lines
    assert ["recipients", "1,000"] in lines
    assert ["sent", "960", "96.0%"] in lines
    assert ["invalid", "40", "4.0%"] in lines
    assert ["bounced", "24", "2.5%"] in lines
    assert not [line for line in lines if line[:1] in (["waiting"], ["opened"])]
    assert json.loads(run("batch", ID, "--json").stdout) == found


@respx.mock
@pytest.mark.parametrize(
    ("found", "code"),
    [
        (batch("running", sent=1, waiting=1), 0),
        (batch("running", {"planned_at": None}), 0),
        (batch("paused", sent=1, waiting=1), 0),
        (batch(sent=1, invalid=1), 0),
        (batch(sent=1, failed=1), 1),
        (batch("cancelled", sent=1, cancelled=1), 1),
        (batch(failed=1, unknown=1), 3),
    ],
)
def test_how_it_is_is_the_exit_status(found: dict[str, Any], code: int) -> None:
    looks(found)
    assert run("batch", ID).exit_code == code


@respx.mock
@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (batch(sent=8, invalid=1, duplicate=1), 0, f"ferryman batch {ID} --recipients"),
        (batch(sent=9, failed=1), 1, f"ferryman batch {ID} --recipients"),
        (batch(failed=1, unknown=1000), 3, "of 1,000 it is unknown; the vendor's events may"),
        (batch(invalid=9, duplicate=1), 1, "nothing was sent: 9 invalid, 1 duplicate of 10"),
        (batch("cancelled", sent=9, cancelled=1), 1, "cancelled 1 10.0%"),
        (batch("paused", {"reason": "a typo"}, waiting=1), 1, "the batch is paused: a typo"),
        (batch("paused", {"reason": "paused by itself: 9 of"}), 1, "batch is paused by itself: 9"),
        (batch("paused", {"planned_at": None}), 1, "the batch is paused"),
    ],
)
def test_how_a_wait_ends(found: dict[str, Any], code: int, said: str) -> None:
    looks(batch("running", waiting=9, sending=1), found)
    result = run("batch", ID, "--wait")
    assert result.exit_code == code, result.stderr
    assert said in " ".join((result.stderr + result.stdout).split())
    resume = f"to go on: ferryman batch {ID} --resume --wait\n"
    assert (resume in result.stderr) == (found["status"] == "paused")


@respx.mock
def test_what_left_before_a_pause_is_waited_for() -> None:
    pausing = batch("paused", waiting=1, sending=9)
    route = looks(pausing, pausing, batch("paused", waiting=1, sent=9))
    result = run("batch", ID, "--wait")
    assert (result.exit_code, route.call_count) == (1, 3)
    assert "  sent       9   90.0%\n" in result.stdout
    assert "9/10" in result.stderr


@respx.mock
def test_a_batch_is_planned_first() -> None:
    looks(*[batch("running", {"planned_at": None})] * 2, batch(sent=1))
    states = [{**BULK, "reason": "it is not due"}, {**BULK, "status": "running"}]
    route = respx.get(f"{URL}/v1/jobs/{ID}").mock(side_effect=answers(*states))
    assert run("batch", ID, "--wait").exit_code == 0
    assert route.call_count == 2


@respx.mock
def test_a_batch_that_was_never_planned() -> None:
    looks(batch("done", {"planned_at": None}))
    failed = {**BULK, "status": "failed", "error": {"code": "expired", "message": "too late"}}
    respx.get(f"{URL}/v1/jobs/{ID}").respond(json=failed)
    result = run("batch", ID, "--wait", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, failed)


@respx.mock
def test_an_api_may_be_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    effects: list[Any] = [NO_ANSWER, httpx.Response(503), *answers(batch(sent=1))]
    respx.get(f"{URL}/v1/batches/{ID}").mock(side_effect=effects)
    assert run("batch", ID, "--wait").exit_code == 0
    monkeypatch.setattr(_batches, "PATIENCE_SECONDS", -1.0)
    respx.get(f"{URL}/v1/batches/{ID}").mock(side_effect=NO_ANSWER)
    assert run("batch", ID, "--wait").exit_code == 1


def test_the_bar_tells_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with _batches.shown("mails") as bar:
            bar("planning, waiting", 0, None)
            for done in (1000, 2000, 3000):
                bar("running", done, 5000)
                time.sleep(0.02)
            bar("no answer", 0, None)
        shown = read_all(ours)
    lines = [re.sub("\x1b.*?[a-zA-Z]", "", line).strip() for line in shown.split("\r")]
    assert any(line.startswith("mails: planning, waiting") for line in lines)
    (last,) = [line for line in lines if line.startswith("mails: no answer")][-1:]
    assert re.fullmatch(r".* 3000/5000 [0-9,]+/s 0:00:0\d left, 0:00:00", last), last


def _interrupt(_: httpx.Request) -> httpx.Response:
    raise KeyboardInterrupt


@respx.mock
def test_who_stops_looking_is_told_how_to_look_again() -> None:
    respx.get(f"{URL}/v1/batches/{ID}").mock(side_effect=_interrupt)
    result = run("batch", ID, "--wait")
    assert (result.exit_code, result.stdout) == (130, "")
    assert f"goes on without you; to look again: ferryman batch {ID} --wait\n" in result.stderr


@respx.mock
@pytest.mark.parametrize(
    ("option", "step"),
    [
        ("--pause", "pause"),
        ("--resume", "resume"),
        ("--cancel", "cancel"),
        ("--retry-failed", "retry"),
    ],
)
def test_steps(option: str, step: str) -> None:
    found = batch("paused", waiting=1)
    route = respx.post(f"{URL}/v1/batches/{ID}/{step}").respond(json=found)
    result = run("batch", ID, option, "--note", "the price is wrong")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "paused" in result.stdout
    assert json.loads(run("batch", ID, option, "--json").stdout) == found
    sent = [json.loads(call.request.content) for call in route.calls]
    assert sent == [{"note": "the price is wrong"}, {}]
    no = {"type": "/problems/not-possible", "title": "T", "detail": "it is done"}
    respx.post(f"{URL}/v1/batches/{ID}/{step}").respond(409, json=no)
    result = run("batch", ID, option)
    assert (result.exit_code, result.stderr) == (1, "ferryman: it is done\n")


@respx.mock
@pytest.mark.parametrize(("option", "step"), [("--resume", "resume"), ("--retry-failed", "retry")])
def test_a_step_and_then_a_wait(option: str, step: str) -> None:
    respx.post(f"{URL}/v1/batches/{ID}/{step}").respond(json=batch("running", waiting=1))
    looks(batch("running", waiting=1), batch(sent=1))
    assert run("batch", ID, option, "--wait").exit_code == 0


@respx.mock
def test_recipients_as_csv(tmp_path: Path) -> None:
    rows = "line,to,status,reason\n3,nobody,invalid,é\n".encode()
    route = respx.get(RECIPIENTS).respond(
        content=rows, headers={"Content-Type": "text/csv; charset=utf-8"}
    )
    result = run("batch", ID, "--recipients")
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, rows, "")
    assert str(route.calls.last.request.url.params) == (
        "format=csv&status=invalid&status=duplicate&status=suppressed&status=failed&status=unknown"
    )
    (tmp_path / "aside.csv").write_text("old")
    options = ("--status", "failed", "--status", "sent", "-o", "aside.csv")
    result = run("batch", ID, "--recipients", *options)
    assert (result.stdout, result.stderr) == ("", "ferryman: written to aside.csv\n")
    assert (tmp_path / "aside.csv").read_bytes() == rows
    assert str(route.calls.last.request.url.params) == "format=csv&status=failed&status=sent"
    assert [path.name for path in tmp_path.iterdir()] == ["aside.csv"]


class Broken(httpx.SyncByteStream):
    def __iter__(self) -> Any:
        yield b"line,to\n3,nob"
        raise httpx.RemoteProtocolError("cut off")


@respx.mock
def test_half_a_list_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "aside.csv").write_text("old")
    headers = {"Content-Type": "text/csv"}
    respx.get(RECIPIENTS).respond(200, stream=Broken(), headers=headers)
    assert run("batch", ID, "--recipients", "-o", "aside.csv").exit_code == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    assert_refused(run("batch", ID, "--recipients", "-o", "no/where.csv"), "cannot be written")


@respx.mock
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (httpx.Response(404, json=GONE), 2, "no batch with that id"),
        (httpx.Response(200, text="<html>"), 1, "is not ferryman's API"),
        (httpx.Response(200, json={}), 1, "is not ferryman's API"),
    ],
)
def test_what_is_no_list(answer: httpx.Response, code: int, said: str) -> None:
    respx.get(RECIPIENTS).mock(return_value=answer)
    result = run("batch", ID, "--recipients")
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--pause", "--resume"), "give one of --pause"),
        (("--pause", "--recipients"), "give one of --pause"),
        (("--note", "n"), "--note is about"),
        (("--pause", "--wait"), "--wait goes with --resume"),
        (("--recipients", "--wait"), "--wait goes with --resume"),
        (("--status", "failed"), "are about --recipients"),
        (("-o", "x.csv"), "are about --recipients"),
        (("--recipients", "--json"), "prints CSV"),
        (("--recipients", "--status", "lost"), "'lost' is not one of"),
    ],
)
def test_bad_input(words: tuple[str, ...], told: str) -> None:
    assert_refused(run("batch", ID, *words), told)
    assert_refused(run("batch", "nope"), "id: must be a UUID")


def test_steps_need_an_api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL="", FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    for words in (("--pause",), ("--recipients",)):
        assert_refused(run("batch", ID, *words), "FERRYMAN_URL is not set", "needs the HTTP API")


def test_help_teaches() -> None:
    text = run("batch", "--help").stdout
    for word in ("--pause --note", "may have got", "Exit status", "-o aside.csv"):
        assert word in text


def test_the_real_api_understands_each_of_them(harness: Harness, use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=harness.api())
    people = [{"to": "ada@example.com"}, {"to": "nobody"}]
    mail = {"subject": "S", "text": "T", "recipients": people}
    made = str(harness.enqueue("bulk_email", mail))
    assert run("batch", made).exit_code == 0
    result = run("batch", made, "--pause", "--note", "the price is wrong")
    assert (result.exit_code, "paused" in result.stdout) == (0, True), result.stderr
    assert "the price is wrong" in result.stdout
    assert run("batch", made, "--resume").exit_code == 0
    assert run("batch", made, "--recipients").stdout.startswith("line,to,status,reason")
    assert "cancelled" in run("batch", made, "--cancel").stdout
    assert run("batch", made, "--resume").exit_code == 1
    assert run("batch", str(uuid4()), "--pause").exit_code == 2
    ends = {"source": "s3://photos", "destination": "s3://backup"}
    sync = str(harness.enqueue("sync_objects", ends))
    assert run("batch", sync).exit_code == 0
    assert run("batch", sync, "--objects").stdout.startswith("key,action,outcome,reason,size")
    assert "cancelled" in run("batch", sync, "--cancel").stdout
