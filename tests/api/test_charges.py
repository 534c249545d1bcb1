"""What goes by a charge is taken for a charge that is known, and for no other."""

from __future__ import annotations

import json
from typing import Any

import httpx
import psycopg
import pytest
from uuid_utils.compat import uuid7

from tests.api.test_enqueue import jobs

KINDS = ("refund", "capture_charge", "cancel_charge")
Ledger = psycopg.Connection[Any]

STORE = """
INSERT INTO ferryman.charges (id, vendor, customer, status, amount, currency)
VALUES (%s, 'stripe', 'user-42', 'succeeded', 1250, 'usd')
"""


async def about(client: httpx.AsyncClient, kind: str, charge: object, **more: Any) -> Any:
    body = {"kind": kind, "args": {"charge": str(charge)}, **more}
    return await client.post("/v1/jobs", json=body)


@pytest.fixture
def stored(ledger: Ledger) -> Any:
    """A charge whose job was removed long ago."""
    charge_id = uuid7()
    ledger.execute(STORE, (charge_id,))
    yield charge_id
    ledger.execute("DELETE FROM ferryman.charges")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("charge", [uuid7(), "pi_3Nn1", "order-42", "019ab3f0-6d7e"])
async def test_an_unknown_charge_is_refused(
    client: httpx.AsyncClient, ledger: Ledger, kind: str, charge: object
) -> None:
    answer = await about(client, kind, charge, key="return-77")
    assert (answer.status_code, answer.json()["field"]) == (422, "charge")
    assert answer.json()["type"] == "/problems/invalid-arguments"
    assert str(charge) not in answer.text
    assert jobs(ledger) == []
    assert ledger.execute("SELECT FROM ferryman.job_keys").fetchall() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_job_that_charges_is_known(
    client: httpx.AsyncClient, kind: str, charge: Any
) -> None:
    charge_id = (await client.post("/v1/jobs", json=charge | {"vendor": "paypal"})).json()["id"]
    answer = await about(client, kind, charge_id)
    assert (answer.status_code, answer.json()["vendor"]) == (201, "paypal")


async def test_a_stored_charge_is_known_without_its_job(
    client: httpx.AsyncClient, stored: object
) -> None:
    assert (await about(client, "refund", stored)).status_code == 201


async def test_another_job_is_no_charge(client: httpx.AsyncClient, charge: Any) -> None:
    charge_id = (await client.post("/v1/jobs", json=charge)).json()["id"]
    refund = (await about(client, "refund", charge_id)).json()["id"]
    assert (await about(client, "refund", refund)).status_code == 422


async def test_what_was_accepted_once_stays_accepted(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    charge_id = (await client.post("/v1/jobs", json=charge)).json()["id"]
    first = await about(client, "refund", charge_id, key="return-77")
    ledger.execute("DELETE FROM ferryman.jobs WHERE kind = 'charge'")
    again = await about(client, "refund", charge_id, key="return-77")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (await about(client, "refund", charge_id, key="return-78")).status_code == 422


async def test_lines_may_mean_a_charge_that_comes_with_them(client: httpx.AsyncClient) -> None:
    line = {"kind": "refund", "args": {"charge": str(uuid7())}}
    answer = await client.post(
        "/v1/jobs/bulk",
        content=json.dumps(line).encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert "id" in answer.json()
