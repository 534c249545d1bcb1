"""`POST /v1/jobs` by many at once: few transactions, and nobody pays for another's job."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.api.conftest import serving
from tests.api.proxy import proxied
from tests.api.test_enqueue import jobs

Ledger = psycopg.Connection[Any]
ENQUEUE = "SELECT ferryman.enqueue('charge', %s, key => %s)"


async def post(client: httpx.AsyncClient, body: Any, **more: Any) -> httpx.Response:
    return await client.post("/v1/jobs", json={**body, **more})


async def test_a_hundred_at_once_are_few_transactions(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    answers = await asyncio.gather(*(post(client, charge, key=f"order-{n}") for n in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    keys = {answer.json()["id"]: answer.json()["key"] for answer in answers}
    assert {str(job["id"]): job["key"] for job in jobs(ledger)} == keys
    row = ledger.execute("SELECT count(DISTINCT xmin::text) AS n FROM ferryman.jobs").fetchone()
    assert row is not None
    assert row["n"] <= 20


async def test_each_gets_its_own_answer(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    await post(client, charge, key="known")
    other = charge | {"args": charge["args"] | {"amount": 1}}
    gone = {"kind": "refund", "args": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"}}
    asked = [(charge, "new"), (charge, "known"), (other, "known"), (gone, "gone"), (charge, None)]
    answers = await asyncio.gather(*(post(client, body, key=key) for body, key in asked))
    assert [answer.status_code for answer in answers] == [201, 200, 409, 422, 201]
    assert len(jobs(ledger)) == 3


async def test_a_busy_key_keeps_nobody_else_waiting(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    with ledger.transaction():
        ledger.execute(ENQUEUE, (Jsonb(charge["args"]), "busy"))
        busy = [asyncio.create_task(post(client, charge, key="busy")) for _ in range(3)]
        began = time.monotonic()
        answers = await asyncio.gather(*(post(client, charge, key=f"free-{n}") for n in range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert time.monotonic() - began < 0.9
        assert not any(one.done() for one in busy)
    # The transaction ended within their second.
    assert {answer.status_code for answer in await asyncio.gather(*busy)} == {200}


async def test_a_locked_table_is_waited_for(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    with ledger.transaction():
        ledger.execute("LOCK TABLE ferryman.jobs IN EXCLUSIVE MODE")
        waiting = [asyncio.create_task(post(client, charge)) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(one.done() for one in waiting)
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {201}
    assert len(jobs(ledger)) == 3


async def test_what_was_answered_503_is_not_stored_later(
    emptied: str, ledger: Ledger, charge: Any
) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (app, client):
        await post(client, charge, key="first")
        app.state.ledger.patience_seconds = 0.3
        proxy.freeze()
        answers = await asyncio.gather(*(post(client, charge) for _ in range(3)))
        proxy.thaw()
        app.state.ledger.patience_seconds = 5
        assert (await post(client, charge, key="last")).status_code == 201
    assert Counter(answer.status_code for answer in answers) == {503: 3}
    assert [job["key"] for job in jobs(ledger)] == ["first", "last"]


async def test_who_still_waits_is_served_after_a_silence(
    emptied: str, ledger: Ledger, charge: Any
) -> None:
    """One of the two that were sent together gave up."""
    async with proxied(emptied) as proxy, serving(proxy.url) as (app, client):
        await post(client, charge, key="first")
        proxy.freeze()
        patient = asyncio.create_task(post(client, charge, key="patient"))
        await asyncio.sleep(0)
        app.state.ledger.patience_seconds = 0.3
        hasty = await post(client, charge, key="hasty")
        proxy.thaw()
        assert (hasty.status_code, (await patient).status_code) == (503, 201)
    assert [job["key"] for job in jobs(ledger)] == ["first", "patient"]


async def test_a_commit_that_is_slow_is_waited_for(
    emptied: str, ledger: Ledger, charge: Any
) -> None:
    """A 503 would be a lie: it cannot be taken back."""
    async with proxied(emptied) as proxy, serving(proxy.url) as (app, client):
        await post(client, charge, key="first")
        app.state.ledger.patience_seconds = 0.3
        proxy.freeze_after(b"COMMIT")
        answer = asyncio.create_task(post(client, charge))
        await asyncio.sleep(0.6)
        assert not answer.done()
        proxy.thaw()
        assert (await answer).status_code == 201
    assert len(jobs(ledger)) == 2


@pytest.mark.parametrize("key", [None, "order-42"])
async def test_a_lost_connection_makes_no_second_job(
    emptied: str, ledger: Ledger, charge: Any, key: str | None
) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (_, client):
        await post(client, charge, key="first")
        proxy.cut_after(b"COMMIT")
        answers = await asyncio.gather(*(post(client, charge, key=key) for _ in range(2)))
    expected = [201, 201] if key is None else [200, 201]
    assert sorted(answer.status_code for answer in answers) == expected
    assert {answer.json()["id"] for answer in answers} <= {str(job["id"]) for job in jobs(ledger)}
    assert len(jobs(ledger)) == (3 if key is None else 2)
