"""An import of contacts over HTTP: its counts, and its lines as pages and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from models.contact_plan import id_of
from tests.api.test_batches import get, planned

Ledger = psycopg.Connection[Any]
Row = dict[str, Any]

ARGS = {"contacts": [{"email": "ada@example.com", "fields": {"first_name": "Ada"}}]}
REFUSED = {"code": "invalid_arguments", "message": "fields.phone: is too long"}


def child(ledger: Ledger, batch: UUID, place: int, status: str, **more: Any) -> None:
    row = {
        "id": id_of(batch, place),
        "kind": "upsert_contact",
        "vendor": "hubspot",
        "args": Jsonb({"email": f"{place}@example.com", "fields": {"first_name": f"N{place}"}}),
        "status": status,
        "batch_id": batch,
        **{name: Jsonb(value) for name, value in more.items()},
    }
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    ledger.execute(f"INSERT INTO ferryman.jobs ({names}) VALUES ({values})", row)


def aside(ledger: Ledger, batch: UUID, place: int, status: str, reason: str) -> None:
    ledger.execute(
        "INSERT INTO ferryman.set_aside (batch_id, place, given, status, reason)"
        " VALUES (%s, %s, %s, %s, %s)",
        (batch, place, Jsonb({"email": f"{place}@example.com"}), status, reason),
    )


@pytest.fixture
async def batch(client: httpx.AsyncClient, ledger: Ledger) -> UUID:
    """Five lines of a file, each with another end."""
    asked = {"kind": "bulk_contacts", "args": ARGS}
    answer = await client.post("/v1/jobs", json=asked)
    assert answer.status_code == 201, answer.text
    made = UUID(answer.json()["batch_id"])
    planned(ledger, made, 5, invalid=1, duplicate=1)
    child(ledger, made, 2, "succeeded", result={"vendor_reference": "501"})
    aside(ledger, made, 3, "invalid", "email: must be an e-mail address")
    child(ledger, made, 4, "failed", error=REFUSED)
    aside(ledger, made, 5, "duplicate", "email: line 2 has the same record")
    child(ledger, made, 6, "running")
    return made


async def test_the_counts_sum_to_the_total(client: httpx.AsyncClient, batch: UUID) -> None:
    found = await get(client, batch)
    assert (found["kind"], found["status"]) == ("bulk_contacts", "running")
    counts = {name: number for name, number in found["counts"].items() if number}
    assert counts == {"sending": 1, "sent": 1, "failed": 1, "invalid": 1, "duplicate": 1}
    assert found["total"] == 5


async def test_each_line_in_the_order_of_the_file(client: httpx.AsyncClient, batch: UUID) -> None:
    lines = (await get(client, batch, "/recipients"))["recipients"]

    assert [(line["place"], line["status"]) for line in lines] == [
        (2, "sent"),
        (3, "invalid"),
        (4, "failed"),
        (5, "duplicate"),
        (6, "sending"),
    ]
    first, second, third, *_ = lines
    assert (first["to"], first["vendor_reference"]) == ("2@example.com", "501")
    assert first["data"] == {"fields": {"first_name": "N2"}}
    assert (second["to"], second["reason"]) == ("3@example.com", "email: must be an e-mail address")
    assert third["reason"] == REFUSED["message"]


async def test_pages_and_statuses(client: httpx.AsyncClient, batch: UUID) -> None:
    seen: list[int] = []
    cursor = ""
    while True:
        page = await get(client, batch, f"/recipients?limit=2{cursor}")
        seen += [line["place"] for line in page["recipients"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [2, 3, 4, 5, 6]

    asked = await get(client, batch, "/recipients?status=duplicate&status=failed")
    assert [line["place"] for line in asked["recipients"]] == [4, 5]


async def test_as_csv(client: httpx.AsyncClient, batch: UUID) -> None:
    answer = await client.get(f"/v1/batches/{batch}/recipients?format=csv&status=invalid")
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["line"], line["to"], line["status"]) == ("3", "3@example.com", "invalid")


async def test_a_cancelled_import_sends_no_more(
    client: httpx.AsyncClient, ledger: Ledger, batch: UUID
) -> None:
    child(ledger, batch, 7, "waiting")
    ledger.execute("UPDATE ferryman.batches SET total = 6 WHERE id = %s", (batch,))

    answer = await client.post(f"/v1/batches/{batch}/cancel", json={"note": "the wrong file"})

    assert answer.status_code == 200, answer.text
    counts = answer.json()["counts"]
    assert (counts["waiting"], counts["cancelled"], counts["sent"]) == (0, 1, 1)
    assert sum(counts.values()) == answer.json()["total"]


async def test_what_failed_goes_again(
    client: httpx.AsyncClient, ledger: Ledger, batch: UUID
) -> None:
    answer = await client.post(f"/v1/batches/{batch}/retry")

    assert answer.status_code == 200, answer.text
    counts = answer.json()["counts"]
    assert (counts["waiting"], counts["failed"], counts["invalid"]) == (1, 0, 1)
