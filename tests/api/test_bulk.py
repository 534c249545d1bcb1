"""`POST /v1/jobs/bulk`: an answer a line, in order; what is bad keeps nothing else out."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from api.lines import LONGEST, Splitter
from tests.api.conftest import NOWHERE, serving
from tests.api.test_process import running
from tests.conftest import Servers

NDJSON = {"Content-Type": "application/x-ndjson"}
Ledger = psycopg.Connection[Any]


def lines(jobs: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(job).encode() + b"\n" for job in jobs)


async def post(client: httpx.AsyncClient, body: bytes) -> list[dict[str, Any]]:
    answer = await client.post("/v1/jobs/bulk", content=body, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def count(ledger: Ledger) -> int:
    row = ledger.execute("SELECT count(*) AS n FROM ferryman.jobs").fetchone()
    return int(row["n"]) if row else -1


async def test_answers_come_in_the_order_of_the_lines(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    wishes = [charge | {"args": charge["args"] | {"amount": n + 1}} for n in range(2100)]
    answers = await post(client, lines(wishes))
    found = ledger.execute("SELECT id, args FROM ferryman.jobs").fetchall()
    amounts = {str(row["id"]): row["args"]["amount"] for row in found}
    assert [amounts[answer["id"]] for answer in answers] == list(range(1, 2101))


async def test_everything_that_can_be_asked_for(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    wish = {
        "key": "order-42",
        "run_at": "2030-01-31T13:00:00+01:00",
        "expires_at": "2030-02-01T00:00:00Z",
        "priority": "high",
        "vendor": "stripe",
    }
    await post(client, lines([charge | wish]))
    row = ledger.execute("SELECT * FROM ferryman.jobs").fetchone()
    assert row is not None
    assert row["run_at"].isoformat() == "2030-01-31T12:00:00+00:00"
    assert (row["key"], row["priority"], row["args"]) == ("order-42", "high", charge["args"])


async def test_a_bad_line_is_told_and_the_others_are_stored(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    good = json.dumps(charge).encode()
    bad = [
        (b"{", "/problems/malformed-json", None),
        (b"[]", "/problems/malformed-json", None),
        (b"\xff", "/problems/malformed-json", None),
        (lines([charge | {"kind": "nothing"}])[:-1], "/problems/invalid-arguments", "kind"),
        (lines([charge | {"vendor": "sendgrid"}])[:-1], "/problems/invalid-arguments", "vendor"),
        (lines([charge | {"args": {}}])[:-1], "/problems/invalid-arguments", "customer"),
        (lines([charge | {"runat": 1}])[:-1], "/problems/invalid-arguments", "runat"),
        (
            lines([charge | {"expires_at": "2001-01-01T00:00:00Z"}])[:-1],
            "/problems/invalid-arguments",
            "expires_at",
        ),
        (b" " * (LONGEST + 1), "/problems/too-large", None),
    ]
    body = b"\n\r\n" + b"".join(good + b"\n" + line + b"\n" for line, _, _ in bad) + good
    answers = await post(client, body)
    assert ["id" in answer for answer in answers] == [True, False] * len(bad) + [True]
    for place, (_, kind, field) in enumerate(bad):
        told = answers[2 * place + 1]
        assert told["line"] == 2 * place + 4
        assert (told["error"]["type"], told["error"].get("field")) == (kind, field)
    assert count(ledger) == len(bad) + 1


async def test_one_job_for_each_key(client: httpx.AsyncClient, ledger: Ledger, charge: Any) -> None:
    known = (await client.post("/v1/jobs", json=charge | {"key": "a"})).json()["id"]
    other = charge | {"args": charge["args"] | {"amount": 1}}
    wishes = [charge | {"key": key} for key in ("b", "a", "b")] + [other | {"key": "b"}, charge]
    first, existing, again, conflict, keyless = await post(client, lines(wishes))
    assert (existing["id"], again["id"]) == (known, first["id"])
    assert conflict["error"]["type"] == "/problems/key-conflict"
    assert conflict["line"] == 4
    assert len({known, first["id"], keyless["id"]}) == count(ledger) == 3


async def test_a_key_in_an_open_transaction_keeps_only_its_own_line_out(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    wishes = [charge | {"key": f"order-{n}"} for n in range(100)]
    with ledger.transaction():
        ledger.execute(
            "SELECT ferryman.enqueue('charge', %s, key => 'order-42')", (Jsonb(charge["args"]),)
        )
        began = time.monotonic()
        answers = await post(client, lines(wishes))
        assert time.monotonic() - began < 3
    (busy,) = [answer for answer in answers if "error" in answer]
    assert (busy["line"], busy["error"]["type"]) == (43, "/problems/key-in-flight")
    assert count(ledger) == 100


async def test_bulk_mails_have_their_batches(client: httpx.AsyncClient) -> None:
    args = {"recipients": [{"to": "ada@example.com"}], "subject": "News", "text": "Hello"}
    (answer,) = await post(client, lines([{"kind": "bulk_email", "args": args}]))
    assert (await client.get(f"/v1/batches/{answer['id']}")).json()["status"] == "running"


@pytest.mark.parametrize("media", ["application/json", "text/plain", ""])
async def test_only_json_lines_are_taken(client: httpx.AsyncClient, media: str) -> None:
    answer = await client.post("/v1/jobs/bulk", content=b"", headers={"Content-Type": media})
    assert answer.status_code == 415


async def test_no_lines_have_no_answers(client: httpx.AsyncClient) -> None:
    assert await post(client, b"\n\n") == []


async def test_without_a_ledger_there_is_no_stream(charge: Any) -> None:
    async with serving(f"postgresql://{NOWHERE}/x") as (_, client):
        answer = await client.post("/v1/jobs/bulk", content=lines([charge]), headers=NDJSON)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/ledger-down")


async def test_a_ledger_that_goes_away_ends_the_stream_with_a_word(
    servers: Servers, ledger_url: str, charge: Any
) -> None:
    name = urlsplit(ledger_url).path[1:]
    with psycopg.connect(servers.database, autocommit=True, row_factory=dict_row) as server:

        async def sent() -> AsyncIterator[bytes]:
            yield lines([charge] * 1000)
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            yield lines([charge] * 1500)

        async with serving(ledger_url) as (_, client):
            answer = await client.post("/v1/jobs/bulk", content=sent(), headers=NDJSON)
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert len(answers) == 1001
    assert answers[-1]["line"] == 1001
    assert answers[-1]["error"]["type"] == "/problems/ledger-down"
    assert "lines 1001 to 2000" in answers[-1]["error"]["detail"]
    with psycopg.connect(ledger_url, row_factory=dict_row) as ledger:
        assert count(ledger) == 1000


def test_neither_lines_nor_memory_grow(emptied: str, tmp_path: Path, ledger: Ledger) -> None:
    line = lines(
        [
            {
                "kind": "send_email",
                "args": {"to": "ada@example.com", "subject": "x", "text": "y" * 800},
            }
        ]
    )
    with running(tmp_path, emptied) as (process, url), httpx.Client(timeout=60) as client:

        def sent(times: int) -> int:
            parts: Iterator[bytes] = (line * 100 for _ in range(times))
            answer = client.post(f"{url}/v1/jobs/bulk", content=parts, headers=NDJSON)
            return answer.text.count('{"id"')

        assert sent(30) == 3000
        before = peak_mib(process.pid)
        assert sent(400) == 40_000
        assert peak_mib(process.pid) < before + 25
    assert count(ledger) == 43_000


def peak_mib(pid: int) -> float:
    """The most memory that the process has held at any time."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such process")


def test_lines_are_cut_wherever_the_parts_end() -> None:
    text = b"one\n\n two \nthree"
    for size in range(1, len(text)):
        splitter = Splitter()
        parts = (text[start : start + size] for start in range(0, len(text), size))
        found = [line for part in parts for line in splitter.lines(part)]
        found += splitter.last()
        assert [(line.number, line.content) for line in found] == [
            (1, b"one"),
            (3, b" two "),
            (4, b"three"),
        ]
