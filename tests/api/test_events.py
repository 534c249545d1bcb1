"""`POST /v1/events`: a line an event; and what is told of an event that rode in a load."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from tests.api.test_bulk import NDJSON, lines

Ledger = psycopg.Connection[Any]

EVENT = {"user": "user-42", "event": "Signed in", "properties": {"plan": "pro"}}


async def post(client: httpx.AsyncClient, body: bytes, query: str = "") -> list[dict[str, Any]]:
    answer = await client.post(f"/v1/events{query}", content=body, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return [httpx.Response(200, text=line).json() for line in answer.text.splitlines()]


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.execute("SELECT * FROM ferryman.jobs ORDER BY id").fetchall()


async def test_each_line_is_a_job(client: httpx.AsyncClient, ledger: Ledger) -> None:
    late = {**EVENT, "at": "2026-11-28T10:00:00Z", "key": "k-1", "priority": "high"}
    answers = await post(client, lines([EVENT, late]))

    first, second = rows(ledger)
    assert [str(first["id"]), str(second["id"])] == [answer["id"] for answer in answers]
    assert (first["kind"], first["vendor"], first["args"]) == ("track_event", "mixpanel", EVENT)
    assert second["args"] == {**EVENT, "at": "2026-11-28T10:00:00Z"}
    assert (second["key"], second["priority"]) == ("k-1", "high")


async def test_the_same_key_is_the_same_event(client: httpx.AsyncClient, ledger: Ledger) -> None:
    (first,) = await post(client, lines([{**EVENT, "key": "k-1"}]))
    again, other = await post(
        client, lines([{**EVENT, "key": "k-1"}, {**EVENT, "user": "user-43", "key": "k-1"}])
    )
    assert again == first
    assert other["error"]["type"] == "/problems/key-conflict"
    assert len(rows(ledger)) == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"event": "Signed in"}, "user"),
        ({"user": "", "event": "Signed in"}, "user"),
        ({**EVENT, "at": "yesterday"}, "at"),
        ({**EVENT, "properties": 5}, "properties"),
        ({**EVENT, "kind": "charge"}, "kind"),
        ({**EVENT, "vendor": "segment"}, "vendor"),
        ({**EVENT, "key": ""}, "key"),
    ],
)
async def test_a_bad_line_names_its_field_and_the_others_are_stored(
    client: httpx.AsyncClient, ledger: Ledger, line: dict[str, Any], field: str
) -> None:
    told, good = await post(client, lines([line, EVENT]))

    assert (told["error"]["field"], told["line"]) == (field, 1)
    assert [str(row["id"]) for row in rows(ledger)] == [good["id"]]


async def test_the_vendor_of_all(client: httpx.AsyncClient, ledger: Ledger) -> None:
    await post(client, lines([EVENT]), "?vendor=segment")
    assert [row["vendor"] for row in rows(ledger)] == ["segment"]

    (told,) = await post(client, lines([EVENT]), "?vendor=stripe")
    assert told["error"]["field"] == "vendor"
    misspelt = await client.post("/v1/events?vender=segment", content=b"", headers=NDJSON)
    assert misspelt.status_code == 422


# --- what was tried for one that rode


class Ridden:
    """An event, and the load that carried it."""

    def __init__(self, ledger: Ledger, status: str = "succeeded", fence: int = 1) -> None:
        self.ledger, self.worker = ledger, uuid4()
        self.id, self.load = uuid7(), uuid7()
        ledger.execute(
            "INSERT INTO ferryman.jobs (id, kind, vendor, args, status, fence, load, error)"
            " VALUES (%s, 'track_event', 'mixpanel', %s, %s, %s, %s, %s)",
            (self.id, Jsonb(EVENT), status, fence, self.load, Jsonb({"code": "refused"})),
        )
        self.carried(self.load, 207)

    def carried(self, load: UUID, status: int, age: int = 0) -> None:
        self.ledger.execute(
            "INSERT INTO ferryman.loads (job_id, vendor, kind, riders, records, bytes, taken_at,"
            " ended_at) VALUES (%s, 'mixpanel', 'track_event', %s, 2, 300,"
            " '2026-11-28T10:00:00Z', '2026-11-28T10:00:01Z')",
            (load, [self.id, uuid7()]),
        )
        self.tried(load, 1, None)
        self.ledger.execute(
            "INSERT INTO ferryman.interactions (id, job_id, attempt, vendor, method, url,"
            " status_code, latency_ms, request, response, at) VALUES (%s, %s, 1, 'mixpanel',"
            " 'POST', 'https://vendor.test/', %s, 40, '{}', '{}', now() - %s * interval '1 s')",
            (uuid7(), load, status, age),
        )

    def tried(self, job: UUID, number: int, load: UUID | None) -> None:
        self.ledger.execute(
            "INSERT INTO ferryman.attempts (job_id, number, worker, outcome, load)"
            " VALUES (%s, %s, %s, %s, %s)",
            (job, number, self.worker, "disbanded" if load else "succeeded", load),
        )


async def test_its_load_is_its_attempt(client: httpx.AsyncClient, ledger: Ledger) -> None:
    ridden = Ridden(ledger, "failed")

    (told,) = (await client.get(f"/v1/jobs/{ridden.id}/attempts")).json()["attempts"]

    assert (told["number"], told["outcome"], told["error"]) == (1, "failed", {"code": "refused"})
    assert (told["load"], told["worker"]) == (str(ridden.load), str(ridden.worker))
    assert told["finished_at"] == "2026-11-28T10:00:01Z"
    assert [one["status_code"] for one in told["interactions"]] == [207]


async def test_a_load_that_was_disbanded_is_an_attempt_of_its_own(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    ridden, before = Ridden(ledger, fence=2), uuid7()
    ridden.carried(before, 503, age=9)
    ridden.tried(ridden.id, 1, before)

    first, last = (await client.get(f"/v1/jobs/{ridden.id}/attempts")).json()["attempts"]

    assert (first["number"], first["outcome"], first["load"]) == (1, "disbanded", str(before))
    assert [one["status_code"] for one in first["interactions"]] == [503]
    assert (last["number"], last["outcome"], last["load"]) == (2, "succeeded", str(ridden.load))
    assert [one["status_code"] for one in last["interactions"]] == [207]


async def test_the_last_load_is_not_told_twice(client: httpx.AsyncClient, ledger: Ledger) -> None:
    ridden = Ridden(ledger, "waiting")
    ridden.tried(ridden.id, 1, ridden.load)

    (told,) = (await client.get(f"/v1/jobs/{ridden.id}/attempts")).json()["attempts"]

    assert (told["outcome"], told["load"]) == ("disbanded", str(ridden.load))
    assert len(told["interactions"]) == 1
