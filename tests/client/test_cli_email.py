"""`ferryman email`: a file becomes an upload and a bulk mail, and its problems are told by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import respx

from ferryman.cli import _batches
from tests.client.test_cli import ID, URL, assert_refused, run
from tests.client.test_cli_batch import BULK, batch, looks

MAIL = ("--subject", "Hello", "--text", "Hello all")
TEMPLATE = ("--template", "d-0123")
UPLOAD = "8b3f0b52-5d0b-8a51-9c1a-0190b5f27a3c"


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr(_batches, "FIRST_PAUSE", 0.0)


@pytest.fixture
def uploads(respx_mock: respx.MockRouter) -> respx.Route:
    """An API that takes any list."""
    return uploaded(respx_mock)


@pytest.fixture
def jobs(respx_mock: respx.MockRouter) -> respx.Route:
    """An API that takes any job."""
    return respx_mock.post(f"{URL}/v1/jobs").respond(201, json=BULK)


def uploaded(router: respx.MockRouter) -> respx.Route:
    answer = {"id": UPLOAD, "format": "csv", "rows": 2, "bytes": 9, "new": True}
    return router.post(url__startswith=f"{URL}/v1/uploads").respond(201, json=answer)


def sent(route: respx.Route) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(route.calls.last.request.content)
    return found


def test_the_file_goes_as_it_is_and_its_job_names_it(
    uploads: respx.Route, jobs: respx.Route, tmp_path: Path
) -> None:
    content = '\ufeffname, to \r\n"Lovelace, Ada",ada@example.com\r\nEve,e'.encode()
    (tmp_path / "r.csv").write_bytes(content)
    (tmp_path / "mail.txt").write_text("Hello")
    data = ("--data", '{"shop": "X"}', "--key", "news", "--no-wait")
    result = run("email", "r.csv", *TEMPLATE, *data)
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n"), result.stderr
    assert uploads.calls.last.request.content == content
    assert sent(jobs)["key"] == "news"
    assert sent(jobs)["args"] == {"template": "d-0123", "data": {"shop": "X"}, "upload": UPLOAD}
    run("email", "-", "--subject", "S", "--text", "@mail.txt", "--no-wait", given="to\nada@a.b\n")
    assert uploads.calls.last.request.content == b"to\nada@a.b\n"
    assert sent(jobs)["args"] == {"subject": "S", "text": "Hello", "upload": UPLOAD}


def test_every_option_becomes_an_argument(uploads: respx.Route, jobs: respx.Route) -> None:
    options = (
        *("--sender", "s@example.com", "--reply-to", "r@example.com", "--html", "<p>Hello</p>"),
        *("--category", "news", "--category", "january", "--unsubscribe-url", "https://a.b/{id}"),
        *("--no-track-opens", "--track-clicks", "--per-minute", "500"),
        *("--max-bounce-rate", "0.1", "--max-complaint-rate", "0.001"),
        *("--run-at", "2030-01-31T09:00:00Z"),
    )
    result = run("email", "-", *MAIL, *options, "--no-wait", "--json", given="to\na@b.c\n")
    assert json.loads(result.stdout) == BULK, result.stderr
    assert sent(jobs)["run_at"] == "2030-01-31T09:00:00Z"
    assert sent(jobs)["args"] == {
        "subject": "Hello",
        "text": "Hello all",
        "html": "<p>Hello</p>",
        "sender": "s@example.com",
        "reply_to": "r@example.com",
        "categories": ["news", "january"],
        "track_opens": False,
        "track_clicks": True,
        "unsubscribe_url": "https://a.b/{id}",
        "upload": UPLOAD,
        "per_minute": 500,
        "max_bounce_rate": 0.1,
        "max_complaint_rate": 0.001,
    }


@pytest.mark.parametrize(
    ("name", "options", "format"),
    [
        ("r.csv", (), "csv"),
        ("r.JSONL", (), "ndjson"),
        ("r.json", (), "json"),
        ("r.txt", ("--format", "jsonl"), "ndjson"),
        ("r.csv", ("--format", "jsonl"), "ndjson"),
        ("-", (), "csv"),
        ("-", ("--format", "json"), "json"),
    ],
)
def test_the_format(
    uploads: respx.Route,
    jobs: respx.Route,
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
    format: str,
) -> None:
    content = {"csv": "to\na@b.c\n", "ndjson": '{"to": "a@b.c"}\n', "json": '[{"to": "a@b.c"}]'}
    (tmp_path / name).write_text(content[format])
    result = run("email", name, *MAIL, *options, "--no-wait", given=content[format])
    assert result.exit_code == 0, result.stderr
    request = uploads.calls.last.request
    assert request.content.decode() == content[format]
    assert format in request.headers["content-type"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("r.csv", "", "r.csv line 1: "),
        ("r.csv", "name;to\na;b\n", "r.csv line 1: "),
        ("r.csv", "to\n", "r.csv line 2: "),
        ("r.csv", "to,n\n", "r.csv line 2: "),
        ("r.csv", "to,name\na@b.c,Ada\n", "r.csv line 2: column `name` is for a template"),
        ("r.jsonl", '{"to": "a@b.c"}\n\n{"to": "b", "data": {"n": 1}}\n', "line 3: data `n` is"),
        ("r.json", '[{"to": "a"}, {"to": "b", "data": {"n": 1}}]', "entry 2: data `n` is"),
        ("r.json", '[{"to": "a"}, 5]', "r.json entry 2: "),
    ],
)
def test_problems_are_told_by_their_line(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    assert_refused(run("email", name, *MAIL), told)
    said = told.replace(name, "standard input")
    assert_refused(run("email", "-", *MAIL, "--format", name[2:], given=content), said)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gone.csv", *MAIL), "gone.csv cannot be read: No such file"),
        ((".", *MAIL, "--format", "csv"), "cannot be read: Is a directory"),
        (("r", *MAIL), "--format: is needed: r ends in none of .csv .json .jsonl"),
        (("r.csv",), "template: is required, unless"),
        (("r.csv", "--text", "x"), "subject: is required"),
        (("r.csv", "--text", "@gone.txt"), "--text: gone.txt cannot be read"),
        (("r.csv", *MAIL, "--subject", "a\nBcc: b"), "subject: must not contain line breaks"),
        (("r.csv", *MAIL, "--sender", "x"), "sender: must be an e-mail address"),
        (("r.csv", *MAIL, "--data", "x"), "--data: is not JSON"),
        (("r.csv", *MAIL, "--data", "{}"), "data: is for a template"),
        (("r.csv", *MAIL, "--per-minute", "0"), "per_minute: must"),
        (("r.csv", *MAIL, "--max-bounce-rate", "5"), "max_bounce_rate: must"),
        (("r.csv", *MAIL, "--unsubscribe-url", "http://a.b"), "unsubscribe_url: must begin with"),
        (("r.csv", *MAIL, "--run-at", "soon"), "run_at: must be a time"),
    ],
)
def test_other_bad_input(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("to\na@example.com\n")
    (tmp_path / "r").write_text("to\na@example.com\n")
    assert_refused(run("email", *words), told)


def test_what_the_api_finds_in_the_list_names_the_file(
    respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    detail = "line 7: has 3 fields, where the header has 2"
    document = {"title": "T", "detail": detail, "errors": [{"field": "line 7", "message": detail}]}
    uploaded(respx_mock).respond(422, json=document)
    (tmp_path / "r.csv").write_text("to,n\na@example.com,b\n")
    assert_refused(run("email", "r.csv", *TEMPLATE), "r.csv line 7: has 3 fields")


@respx.mock
def test_the_end_of_the_batch_is_waited_for() -> None:
    uploaded(respx.mock)
    respx.post(f"{URL}/v1/jobs").respond(201, json=BULK)
    respx.get(f"{URL}/v1/jobs/{ID}").respond(json={**BULK, "run_at": "2130-01-31T09:00:00Z"})
    planning = batch("running", {"planned_at": None})
    looks(planning, planning, batch("running", waiting=10), batch("done", sent=9, invalid=1))
    result = run("email", "-", *MAIL, given="to\na@example.com\n")
    assert result.exit_code == 0
    assert "  invalid    1   10.0%\n" in result.stdout
    first, *_, last = result.stderr.splitlines()
    assert first == f"ferryman: batch {ID}; if you stop looking, it goes on"
    assert result.stderr.count("ferryman: nothing is sent before 2130-01-31T09:00:00Z\n") == 1
    assert "10/10" in result.stderr
    assert last == f"ferryman: who was set aside, and why: ferryman batch {ID} --recipients"


def test_help_teaches() -> None:
    text = run("email", "--help").stdout
    for word in ("column `to`", "--key newsletter-2030-01", "Exit status", "pauses by itself"):
        assert word in " ".join(text.split())
