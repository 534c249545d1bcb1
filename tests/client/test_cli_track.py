"""`ferryman track`: a line of a file is an event, each a job of its own; bad lines are told by
their numbers before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import respx
from psycopg.rows import dict_row

from tests.api.conftest import empty
from tests.client.test_cli import URL, assert_refused, run

EVENT = {"user": "user-42", "event": "Signed in"}
ERROR = {"code": "refused", "message": "properties.plan: the vendor does not take it"}

Ledger = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def ledger(database_url: str, use: Callable[..., None]) -> Iterator[Ledger]:
    """The command line goes straight into this ledger."""
    empty(database_url)
    use(FERRYMAN_DATABASE_URL=database_url)
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection
    empty(database_url)


@pytest.fixture
def nobody(use: Callable[..., None]) -> Iterator[None]:
    """An API that must not be asked for anything."""
    use(FERRYMAN_URL=URL)
    with respx.mock:
        yield


def lines(*events: Any) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def jobs(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.execute("SELECT * FROM ferryman.jobs ORDER BY id").fetchall()


def ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *statuses: str) -> None:
    """While the command waits, its jobs end so, one a look."""
    left = list(statuses)

    def sleep(_: float) -> None:
        status = left.pop(0)
        error = json.dumps(ERROR) if status != "succeeded" else None
        ledger.execute(
            "UPDATE ferryman.jobs SET status = %s, error = %s WHERE id ="
            " (SELECT id FROM ferryman.jobs WHERE status = 'waiting' ORDER BY id LIMIT 1)",
            (status, error),
        )

    monkeypatch.setattr("ferryman.cli._many.time.sleep", sleep)


def test_each_line_is_a_job(ledger: Ledger, tmp_path: Path) -> None:
    late = {**EVENT, "at": "2026-11-28T10:00:00Z", "properties": {"n": 1}, "key": "k-1"}
    (tmp_path / "e.jsonl").write_text(f"\ufeff{lines(EVENT)}\n{lines(late)[:-1]}")

    result = run("track", "e.jsonl", "--no-wait")

    assert result.exit_code == 0, result.stderr
    assert "waiting" in result.stdout
    first, second = jobs(ledger)
    assert (first["kind"], first["vendor"], first["args"]) == ("track_event", "mixpanel", EVENT)
    assert (second["key"], second["args"]["properties"]) == ("k-1", {"n": 1})


def test_the_vendor_of_all_and_standard_input(ledger: Ledger) -> None:
    assert run("track", "-", "--vendor", "segment", "--no-wait", given=lines(EVENT)).exit_code == 0
    assert [job["vendor"] for job in jobs(ledger)] == ["segment"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: event: is not JSON"),
        ("[]", "line 2: event: must be a JSON object"),
        ('{"event": "Signed in"}', "line 2: user: is required"),
        ('{"user": "u", "event": "e", "colour": 1}', "line 2: colour: "),
        ('{"user": "u", "event": "e", "at": "noon"}', "line 2: at: "),
        ('{"user": "u", "event": "e", "key": ""}', "line 2: key: "),
        ('{"user": "u", "user": "v", "event": "e"}', "line 2: event: is not usable JSON"),
        ('"' + "x" * 1_048_577 + '"', "line 2: event: is longer than 1 MiB"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_nothing_is_stored(
    nobody: None, line: str, told: str
) -> None:
    result = run("track", "-", "--no-wait", given=f"{lines(EVENT)}{line}\n{lines(EVENT)}")

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"standard input {told}" in result.stderr
    assert "has 1 line that cannot be sent; nothing was stored" in result.stderr


def test_many_bad_lines_do_not_fill_the_screen(nobody: None) -> None:
    result = run("track", "-", given=lines(EVENT) + "{}\n" * 30)
    assert result.stderr.count("is required") == 10
    assert "and 20 more lines" in result.stderr
    assert "has 30 lines that cannot be sent" in result.stderr


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_events(nobody: None, content: str) -> None:
    assert "has no event in it" in run("track", "-", given=content).stderr


def test_a_file_that_is_not_there(nobody: None) -> None:
    assert_refused(run("track", "e.jsonl"), "EVENTS", "e.jsonl cannot be read")


@pytest.mark.parametrize(
    ("statuses", "exit_code"),
    [
        (("succeeded", "succeeded"), 0),
        (("succeeded", "failed"), 1),
        (("cancelled", "succeeded"), 1),
        (("failed", "unknown"), 3),
    ],
)
def test_it_waits_for_the_end_of_all(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, statuses: tuple[str, ...], exit_code: int
) -> None:
    ends(ledger, monkeypatch, *statuses)

    result = run("track", "-", given=lines(EVENT, {**EVENT, "user": "user-43"}))

    assert result.exit_code == exit_code, result.stderr
    for line, status in enumerate(statuses, 1):
        assert status in result.stdout
        trouble = f"line {line}: {status}, refused: properties.plan: the vendor does not take it"
        assert (trouble in result.stderr) == (status != "succeeded")


def test_one_document_for_scripts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(ledger, monkeypatch, "succeeded", "failed")

    result = run("track", "-", "--json", given=lines(EVENT) + "\n" + lines(EVENT))

    found = json.loads(result.stdout)
    failed = str(jobs(ledger)[1]["id"])
    assert (found["total"], found["counts"]) == (2, {"succeeded": 1, "failed": 1})
    assert found["troubles"] == [{"line": 3, "id": failed, "status": "failed", "error": ERROR}]


def test_the_same_file_again_is_the_same_events(ledger: Ledger) -> None:
    given = lines({**EVENT, "key": "k-1"}, {**EVENT, "key": "k-2"}, {**EVENT, "key": "k-1"})
    for _ in range(2):
        result = run("track", "-", "--no-wait", "--json", given=given)
        assert (result.exit_code, json.loads(result.stdout)["total"]) == (0, 2)
    assert len(jobs(ledger)) == 2


def test_a_key_of_another_event_is_told_and_the_others_are_stored(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(ledger, monkeypatch, "succeeded", "succeeded")
    given = lines({**EVENT, "key": "k-1"}, {**EVENT, "user": "user-43", "key": "k-1"}, EVENT)

    result = run("track", "-", given=given)

    assert result.exit_code == 2
    assert "line 2: " in result.stderr
    assert len(jobs(ledger)) == 2


def test_a_vendor_that_does_no_such_thing(ledger: Ledger) -> None:
    assert "vendor: " in run("track", "-", "--vendor", "stripe", given=lines(EVENT)).stderr
    assert jobs(ledger) == []


@respx.mock
def test_what_is_stored_is_told_when_the_api_goes_away(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FERRYMAN_URL=URL)
    monkeypatch.setattr("ferryman.cli._many.CHUNK", 1)
    stored = httpx.Response(200, text=f'{{"id": "{uuid4()}"}}\n')
    respx.post(f"{URL}/v1/jobs/bulk").mock(side_effect=[stored, httpx.ReadTimeout("")])

    result = run("track", "-", given=lines(EVENT) + "\n" + lines(EVENT, EVENT))

    assert result.exit_code == 1
    assert "the 1 before line 3 are stored, and go on" in result.stderr
    assert "whether lines 3 to 3 are is not known" in result.stderr


@respx.mock
def test_through_the_api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)
    ids = [str(uuid4()) for _ in range(2)]
    stored = "".join(f'{{"id": "{one}"}}\n' for one in ids)
    bulk = respx.post(f"{URL}/v1/jobs/bulk").respond(200, text=stored)
    ended = [{"id": one, "status": "succeeded", "error": None} for one in ids]
    states = respx.post(f"{URL}/v1/jobs/states").mock(
        return_value=httpx.Response(200, json={"jobs": ended})
    )

    assert run("track", "-", given=lines(EVENT, EVENT)).exit_code == 0

    sent = [json.loads(line) for line in bulk.calls.last.request.content.splitlines()]
    assert [one["args"] for one in sent] == [EVENT, EVENT]
    assert json.loads(states.calls.last.request.content) == {"ids": ids}
