"""Lists of recipients over HTTP: kept once, checked while they come, nothing kept of a bad one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api import uploads as door
from models import uploads
from models.engine import async_engine
from tests.api.conftest import NOWHERE, serving

Ledger = psycopg.Connection[Any]

CSV = b"to,first_name\r\nada@example.com,Ada\r\n\r\nbob@example.com,Bob\r\n"
TYPE = {"Content-Type": "text/csv; charset=utf-8"}


def kept(ledger: Ledger) -> tuple[int, int]:
    """How many lists and how many pieces."""
    row = ledger.execute(
        "SELECT (SELECT count(*) FROM ferryman.uploads) AS lists,"
        " (SELECT count(*) FROM ferryman.upload_pieces) AS pieces"
    ).fetchone()
    assert row is not None
    return row["lists"], row["pieces"]


async def body(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def many(count: int) -> bytes:
    return b"to,first_name\n" + b"".join(b"u%d@example.com,Name\n" % n for n in range(count))


async def test_the_same_list_is_kept_once(client: httpx.AsyncClient, ledger: Ledger) -> None:
    first = await client.post("/v1/uploads", content=CSV, headers=TYPE)
    assert first.status_code == 201, first.text
    told = first.json()
    digest = bytearray(hashlib.sha256(b"csv\0" + CSV).digest()[:16])
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    assert UUID(told["id"]) == UUID(bytes=bytes(digest))
    assert (told["format"], told["rows"], told["bytes"]) == ("csv", 2, len(CSV))
    again = await client.post("/v1/uploads", content=body(CSV[:9], CSV[9:]), headers=TYPE)
    assert (again.status_code, again.json()) == (200, told)
    assert kept(ledger) == (1, 1)
    seen = await client.get(f"/v1/uploads/{told['id']}")
    assert (seen.status_code, seen.json()) == (200, told)


@pytest.mark.parametrize(
    "media", ["application/x-ndjson", "application/jsonl", "application/ndjson", "application/json"]
)
async def test_json_of_both_kinds(client: httpx.AsyncClient, media: str) -> None:
    entry = json.dumps({"to": "ada@example.com", "data": {"first_name": "Ada"}})
    content = f"[{entry},{entry}]" if media == "application/json" else f"{entry}\n{entry}"
    answer = await client.post("/v1/uploads", content=content, headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["rows"]) == (201, 2)
    assert answer.json()["format"] == ("json" if media == "application/json" else "jsonl")


async def test_a_large_list_is_kept_in_pieces_and_read_back(
    client: httpx.AsyncClient, ledger: Ledger, emptied: str
) -> None:
    whole = many(110_000)
    parts = [whole[at : at + 70_000] for at in range(0, len(whole), 70_000)]
    answer = await client.post("/v1/uploads", content=body(*parts), headers=TYPE)
    assert (answer.status_code, answer.json()["rows"]) == (201, 110_000)
    assert kept(ledger) == (1, 3)
    engine, made = async_engine(emptied, connections=1), UUID(answer.json()["id"])
    async with engine.connect() as connection:
        assert b"".join([piece async for piece in uploads.pieces(connection, made)]) == whole
        assert len(await uploads.piece(connection, made, 1) or b"") == 2**20
        assert await uploads.piece(connection, made, 3) is None
    await engine.dispose()


@pytest.mark.parametrize("good", [1, 60_000])
async def test_a_fault_is_told_with_its_line_and_nothing_is_kept(
    client: httpx.AsyncClient, ledger: Ledger, good: int
) -> None:
    content = many(good) + b"u@example.com\n" + many(good)
    answer = await client.post("/v1/uploads", content=body(content), headers=TYPE)
    assert answer.status_code == 422
    problem, line = answer.json(), f"line {good + 2}"
    assert (problem["type"], problem["field"]) == ("/problems/invalid-arguments", line)
    assert problem["detail"] == f"{line}: has 1 fields, and the header has 2"
    assert kept(ledger) == (0, 0)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, CSV, 415),
        ({"Content-Type": "application/pdf"}, CSV, 415),
        ({**TYPE, "Content-Encoding": "gzip"}, CSV, 415),
        (TYPE, b"", 422),
        (TYPE, b"to\n", 422),
        ({**TYPE, "Content-Length": str(2**31 + 1)}, CSV, 413),
    ],
)
async def test_what_is_refused(
    client: httpx.AsyncClient, ledger: Ledger, headers: Any, content: bytes, status: int
) -> None:
    answer = await client.post("/v1/uploads", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert kept(ledger) == (0, 0)


async def test_a_list_without_an_end_is_cut_off(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_BYTES", 2**20)
    answer = await client.post("/v1/uploads", content=body(many(60_000)), headers=TYPE)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert kept(ledger) == (0, 0)


async def test_nothing_is_kept_of_a_list_that_breaks_off(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    """The application is called as a server does whose client goes away."""
    app: Any = client._transport.app  # type: ignore[attr-defined]
    begun, sent = asyncio.Event(), list[Any]()
    parts = [{"type": "http.request", "body": many(60_000), "more_body": True}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        begun.set()
        assert kept(ledger)[1] == 1
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"text/csv")]
    scope = {
        **{"type": "http", "method": "POST", "path": "/v1/uploads", "raw_path": b"/v1/uploads"},
        **{"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"},
        **{"server": ("localhost", 80), "client": ("127.0.0.1", 1), "root_path": ""},
    }
    await app(scope, receive, send)
    assert begun.is_set()
    assert kept(ledger) == (0, 0)
    assert sent[0]["status"] == 408


async def test_what_was_left_unfinished_is_neither_usable_nor_kept_for_long(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    old, young = uuid4(), uuid4()
    for made in (old, young):
        ledger.execute("SELECT ferryman.upload_piece(%s, 0, 'to')", (made,))
        assert (await client.get(f"/v1/uploads/{made}")).status_code == 404
        assert ledger.execute("SELECT ferryman.upload(%s) AS told", (made,)).fetchone() == {
            "told": None
        }
    ledger.execute(
        "UPDATE ferryman.uploads SET created_at = now() - interval '25 hours' WHERE id = %s", (old,)
    )
    assert (await client.post("/v1/uploads", content=CSV, headers=TYPE)).status_code == 201
    left = ledger.execute("SELECT upload_id FROM ferryman.upload_pieces WHERE content = 'to'")
    assert [row["upload_id"] for row in left] == [young]


async def test_two_at_once_are_one(client: httpx.AsyncClient, ledger: Ledger) -> None:
    answers = await asyncio.gather(
        *(client.post("/v1/uploads", content=CSV, headers=TYPE) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert kept(ledger) == (1, 1)


async def test_a_lost_piece_is_noticed(ledger: Ledger) -> None:
    temporary = uuid4()
    ledger.execute("SELECT ferryman.upload_piece(%s, 0, 'to')", (temporary,))
    with pytest.raises(psycopg.Error, match="a piece of it is missing") as refused:
        ledger.execute(
            "SELECT ferryman.upload_done(%s, %s, 'csv', 1, 3)", (temporary, str(uuid4()))
        )
    assert refused.value.sqlstate == "FE422"


async def test_without_a_ledger_or_a_token_nothing_is_taken(emptied: str) -> None:
    async with serving(f"postgresql://{NOWHERE}/x") as (_, nowhere):
        answer = await nowhere.post("/v1/uploads", content=CSV, headers=TYPE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    async with serving(emptied, tokens=["a-token"]) as (_, closed):
        answer = await closed.post("/v1/uploads", content=CSV, headers=TYPE)
        assert answer.status_code == 401
