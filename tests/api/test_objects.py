"""A sync over HTTP: its batch, and its objects as pages and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from uuid_utils.compat import uuid7

from api import recipients
from tests.api.test_batches import bulk, insert

Ledger = psycopg.Connection[Any]
Row = dict[str, Any]

SYNC = {"source": "s3://photos", "destination": "s3://backup/p", "delete": True}
KEYS = {
    "p/=1+1": ("copy", "done", None),
    "p/a": ("copy", "done", None),
    "p/a/b": ("copy", "failed", "the vendor answered 503"),
    "p/b…0123456789abcdef": ("refuse", "refused", "the key contains a backslash"),
    "p/kept": ("keep", "done", None),
    "p/ü": ("delete", "planned", None),
}


@pytest.fixture
async def sync(client: httpx.AsyncClient, ledger: Ledger) -> UUID:
    """Half done: a part has copied two of three, another is yet to delete."""
    answer = await client.post("/v1/jobs", json={"kind": "sync_objects", "args": SYNC})
    assert answer.status_code == 201, answer.text
    made = UUID(answer.json()["batch_id"])
    row: Row
    for key, (action, outcome, reason) in KEYS.items():
        row = {"key": key, "action": action, "outcome": outcome, "reason": reason, "size": 10}
        insert(ledger, "objects", {"job_id": made, "bucket": "backup", **row})
    ledger.execute(
        "UPDATE ferryman.batches SET planned_at = now(), total = 6, kept = 1, invalid = 1"
        " WHERE id = %s",
        (made,),
    )
    copied = {"size": 3, "done": 2, "failed": 1, "bytes": 30, "bytes_done": 20}
    for part, row in enumerate(({"action": "copy", **copied}, {"action": "delete", "size": 1}), 1):
        more = {"job_id": uuid7(), "batch_id": made, "part": part, "status": "waiting"}
        insert(ledger, "parts", {**more, **row})
    return made


async def get(client: httpx.AsyncClient, path: str) -> Row:
    answer = await client.get(f"/v1/batches/{path}")
    assert answer.status_code == 200, answer.text
    found: Row = answer.json()
    return found


async def test_a_sync_is_a_batch_of_objects(client: httpx.AsyncClient, sync: UUID) -> None:
    found = await get(client, str(sync))
    assert (found["kind"], found["status"]) == ("sync_objects", "running")
    assert found["total"] == sum(found["counts"].values()) == 6
    counts = {name: n for name, n in found["counts"].items() if n}
    assert counts == {"waiting": 1, "sent": 2, "kept": 1, "failed": 1, "invalid": 1}
    assert found["objects"] == {
        **{"copied": 2, "kept": 1, "deleted": 0, "refused": 1, "failed": 1, "waiting": 1},
        **{"bytes": 30, "bytes_done": 20},
    }
    job = (await client.get(f"/v1/jobs/{sync}")).json()
    assert job["result"] == {"batch_id": str(sync), "total": 6, "counts": found["counts"]}


async def test_mails_are_counted_as_before(client: httpx.AsyncClient) -> None:
    found = await get(client, str(await bulk(client)))
    assert "objects" not in found
    assert "kept" not in found["counts"]


async def test_objects_in_pages(client: httpx.AsyncClient, sync: UUID) -> None:
    cursor, seen = "", []
    while cursor is not None:
        answer = await client.get(
            f"/v1/batches/{sync}/objects", params={"limit": 4, "cursor": cursor}
        )
        seen.append([one["key"] for one in answer.json()["objects"]])
        cursor = answer.json()["next"]
    assert [len(page) for page in seen] == [4, 2]
    assert [key for page in seen for key in page] == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("outcome=failed&outcome=refused", ["p/a/b", "p/b…0123456789abcdef"]),
        ("action=delete", ["p/ü"]),
        ("action=copy&outcome=done", ["p/=1+1", "p/a"]),
        ("action=keep&outcome=failed", []),
    ],
)
async def test_some_of_them(
    client: httpx.AsyncClient, sync: UUID, query: str, keys: list[str]
) -> None:
    page = await get(client, f"{sync}/objects?{query}")
    assert [one["key"] for one in page["objects"]] == keys
    assert page["next"] is None


async def test_all_of_them_as_csv(
    client: httpx.AsyncClient, sync: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more pages than one, of which the last is full."""
    monkeypatch.setattr(recipients, "ROWS_AT_ONCE", 3)
    answer = await client.get(f"/v1/batches/{sync}/objects?format=csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="objects-{sync}.csv"'
    found = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [one["key"] for one in found] == list(KEYS)
    assert (found[2]["outcome"], found[2]["reason"], found[2]["size"]) == (
        *("failed", "the vendor answered 503", "10"),
    )
    answer = await client.get(f"/v1/batches/{sync}/objects?format=csv&outcome=refused")
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 1


async def test_what_there_is_not(client: httpx.AsyncClient, sync: UUID) -> None:
    for query in ("", "?format=csv"):
        answer = await client.get(f"/v1/batches/{uuid4()}/objects{query}")
        assert (answer.status_code, answer.json()["field"]) == (404, "id")
    mails = await bulk(client)
    assert await get(client, f"{mails}/objects") == {"objects": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("outcome=gone", "outcome.0"),
        ("action=move", "action.0"),
        ("cursor=a%00b", "cursor"),
        (f"cursor={'a' * 1201}", "cursor"),
        ("limit=0", "limit"),
        ("status=sent", "status"),
    ],
)
async def test_a_query_that_means_nothing(
    client: httpx.AsyncClient, sync: UUID, query: str, field: str
) -> None:
    answer = await client.get(f"/v1/batches/{sync}/objects?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
