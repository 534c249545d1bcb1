"""`GET /v1/contacts`: what ferryman knows of the CRMs' contacts."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

Ledger = psycopg.Connection[Any]


@pytest.fixture
def known(ledger: Ledger) -> list[str]:
    """Three contacts, in the order in which they were met."""
    ids = []
    for vendor, identity, email, external in (
        ("hubspot", "ada@example.com", "Ada@example.com", None),
        ("hubspot", "c-7", "Bob@Example.com", "C-7"),
        ("salesforce", "ada@example.com", "ada@example.com", None),
    ):
        ids.append(uuid7())
        ledger.execute(
            "INSERT INTO ferryman.contacts (id, vendor, identity, email, external_id, fields)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (ids[-1], vendor, identity, email, external, Jsonb({"first_name": "A"})),
        )
    return list(map(str, ids))


async def found(client: httpx.AsyncClient, **asked: str) -> list[str]:
    answer = await client.get("/v1/contacts", params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    return [one["id"] for one in answer.json()["contacts"]]


async def test_one_contact(client: httpx.AsyncClient, known: list[str]) -> None:
    _, bob, _ = (await client.get("/v1/contacts")).json()["contacts"]
    assert (bob["email"], bob["external_id"], bob["status"]) == ("Bob@Example.com", "C-7", "new")
    assert (bob["fields"], bob["vendor_reference"], bob["job_id"]) == (
        {"first_name": "A"},
        None,
        None,
    )


async def test_by_address_and_vendor(client: httpx.AsyncClient, known: list[str]) -> None:
    assert await found(client) == known
    assert await found(client, email="ADA@example.com") == [known[0], known[2]]
    assert await found(client, email="ada@example.com", vendor="salesforce") == known[2:]
    # Also one that is known by something else.
    assert await found(client, email="bob@example.com") == [known[1]]
    assert await found(client, email="c-7") == []
    assert await found(client, vendor="hubspot") == known[:2]


async def test_pages(client: httpx.AsyncClient, known: list[str]) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in known:
        page = (await client.get("/v1/contacts", params={"limit": "1", **cursor})).json()
        seen += [one["id"] for one in page["contacts"]]
        cursor = {"cursor": str(page["next"])}
    assert (seen, page["next"]) == (known, None)


async def test_a_misspelt_filter_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/contacts", params={"mail": "ada@example.com"})
    assert (answer.status_code, answer.json()["field"]) == (422, "mail")
