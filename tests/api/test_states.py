"""`POST /v1/jobs/states`: a thousand jobs in one look."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import psycopg
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

Ledger = psycopg.Connection[Any]


async def post(client: httpx.AsyncClient, ids: Any) -> httpx.Response:
    return await client.post("/v1/jobs/states", json={"ids": ids})


async def test_each_job_that_there_is(client: httpx.AsyncClient, ledger: Ledger) -> None:
    wanted = {}
    for status, error in (("waiting", None), ("failed", {"code": "refused"})):
        id_ = uuid7()
        ledger.execute(
            "INSERT INTO ferryman.jobs (id, kind, vendor, args, status, error)"
            " VALUES (%s, 'track_event', 'mixpanel', '{}', %s, %s)",
            (id_, status, Jsonb(error) if error else None),
        )
        wanted[str(id_)] = {"id": str(id_), "status": status, "error": error}

    answer = await post(client, [*wanted, str(uuid4())])

    assert answer.status_code == 200
    assert {one["id"]: one for one in answer.json()["jobs"]} == wanted


async def test_what_is_no_list_of_ids(client: httpx.AsyncClient) -> None:
    for ids in ([], ["x"], 5, [str(uuid4())] * 1001):
        answer = await post(client, ids)
        assert answer.status_code == 422, ids
        assert answer.json()["field"].startswith("ids")
    assert (await client.get("/v1/jobs/states")).status_code == 405
