"""Lists of recipients, uploaded through both doors, a real API and a real database."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvicorn

import ferryman
from api.app import create
from ferryman import _database, recipients, uploads
from ferryman.recipients import BadList
from models.engine import async_engine
from tests.harness import until

CSV = b"to,first_name\nada@example.com,Ada\nbob@example.com,Bob\n"
TOKEN = "-".join(("the", "token"))


@contextmanager
def served(database: str) -> Iterator[str]:
    app = create(async_engine(database, connections=3), broker_url=None, tokens=[TOKEN])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def api(database_url: str) -> Iterator[str]:
    with served(database_url) as address:
        yield address


@pytest.fixture(params=["database", "http"])
def _door(
    request: pytest.FixtureRequest, use: Callable[..., None], database_url: str, api: str
) -> None:
    if request.param == "http":
        use(FERRYMAN_URL=api, FERRYMAN_API_TOKEN=TOKEN)
    else:
        use(FERRYMAN_DATABASE_URL=database_url)


@pytest.fixture
def ledger(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM ferryman.upload_pieces")
        connection.execute("DELETE FROM ferryman.uploads")
        yield connection


def lists(ledger: psycopg.Connection[Any]) -> list[Any]:
    return ledger.execute(
        "SELECT u.id, u.format, u.rows, u.bytes,"
        " (SELECT string_agg(p.content, '' ORDER BY p.place) FROM ferryman.upload_pieces p"
        "   WHERE p.upload_id = u.id) FROM ferryman.uploads u"
    ).fetchall()


@pytest.mark.usefixtures("_door")
def test_a_file_however_it_is_given_is_kept_once(
    ledger: psycopg.Connection[Any], tmp_path: Path
) -> None:
    path = tmp_path / "list.CSV"
    path.write_bytes(CSV)
    read, write = os.pipe()
    os.write(write, CSV)
    os.close(write)
    with path.open("rb") as file, os.fdopen(read, "rb") as pipe:
        ids = {
            ferryman.upload(path),
            ferryman.upload(str(path), "csv"),
            ferryman.upload(file),
            ferryman.upload(pipe, "csv"),
            ferryman.upload(io.BytesIO(CSV), "csv"),
        }
    (made,) = ids
    assert UUID(made).version == 8
    assert lists(ledger) == [(UUID(made), "csv", 2, len(CSV), CSV)]
    ferryman.requests.BulkEmail(upload=made, template="d-1")


@pytest.mark.usefixtures("_door")
async def test_mappings_become_json_lines(ledger: psycopg.Connection[Any]) -> None:
    entries: list[dict[str, Any]] = [
        {"to": "ada@example.com", "data": {"name": "Zoë"}},
        {"to": "bob@example.com"},
    ]
    made = await ferryman.aupload(entry for entry in entries)
    ((found, told, rows, _, content),) = lists(ledger)
    assert (str(found), told, rows) == (made, "jsonl", 2)
    assert [json.loads(line) for line in content.splitlines()] == entries


@pytest.mark.parametrize(("before", "after"), [(40_000, 0), (1, 300_000)])
@pytest.mark.usefixtures("_door")
def test_of_a_list_at_fault_nothing_is_kept(
    ledger: psycopg.Connection[Any], before: int, after: int
) -> None:
    """Also where it is known to be at fault long before all of it is sent."""
    content = CSV * before + b"ada@example.com\n" + CSV * after
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.upload(io.BytesIO(content), "csv")
    assert refused.value.field == f"line {3 * before + 1}"
    assert refused.value.message == "has 1 fields, and the header has 2"
    assert lists(ledger) == []


@pytest.mark.usefixtures("_door")
def test_a_large_list_goes_in_pieces(
    ledger: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PIECE", 1000)
    content = CSV + b"carl@example.com,Carl\n" * 500
    assert ferryman.upload(io.BytesIO(content), "csv") == str(lists(ledger)[0][0])
    assert lists(ledger)[0][2:] == (502, len(content), content)


@pytest.mark.parametrize(
    ("source", "format", "told"),
    [
        ("nowhere.csv", None, "source: cannot be read: No such file"),
        (io.StringIO("to\n"), "csv", "source: must be opened in binary mode"),
        (io.BytesIO(CSV), None, "format: must be given: csv, json or jsonl"),
        (io.BytesIO(CSV), "xlsx", "format: must be one of csv, json, jsonl"),
        ([{"to": "a@example.com", "data": {"at": object()}}], None, "source: must be mappings"),
        ([{"to": "a@example.com", "data": {"n": float("nan")}}], None, "line 1: has NaN"),
    ],
)
@pytest.mark.usefixtures("_door")
def test_what_cannot_be_uploaded(source: Any, format: str | None, told: str) -> None:
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.upload(source, format)
    assert str(refused.value).startswith(told)


def test_what_is_known_is_not_sent_again(
    use: Callable[..., None],
    database_url: str,
    ledger: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(FERRYMAN_DATABASE_URL=database_url)
    made = ferryman.upload(io.BytesIO(CSV), "csv")
    monkeypatch.setattr(_database, "PIECE", "SELECT 1/0")
    assert ferryman.upload(io.BytesIO(CSV), "csv") == made


def test_a_file_that_changes_meanwhile_is_not_kept(
    use: Callable[..., None], database_url: str, ledger: psycopg.Connection[Any]
) -> None:
    class Changing(io.BytesIO):
        def seek(self, at: int, whence: int = 0) -> int:
            self.getbuffer()[-2:-1] = b"x" if self.tell() else b"y"
            return super().seek(at, whence)

    use(FERRYMAN_DATABASE_URL=database_url)
    with pytest.raises(ferryman.InvalidArguments, match="changed while it was read"):
        ferryman.upload(Changing(CSV), "csv")
    assert [row[2] for row in lists(ledger)] == [None]


def test_the_first_data_is_found_without_reading_on() -> None:
    def pieces() -> Iterator[bytes]:
        yield CSV
        raise AssertionError

    assert recipients.first_data(pieces(), "csv") == (2, "first_name")
    entries = b'{"to": "a@x.com", "data": {}}\n{"to": "a@x.com", "data": {"n": 1}}\n'
    assert recipients.first_data([entries], "jsonl") == (2, "n")
    assert recipients.first_data([b"to\na@x.com\n"], "csv") is None
    with pytest.raises(BadList, match="line 2"):
        recipients.first_data([b"to\n,\n"], "csv")
