"""Webhooks: verified, stored once and before the answer; whatever is wrong with one is a 4xx."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api import webhooks
from api.body import MOST_BYTES
from tests.api.conftest import serving
from tests.api.signed import PUBLIC, Rows, event, is_problem, send, trusting
from tests.contract.operations import Secret, Vendor, vendors

TELLING = [vendor for vendor in vendors() if getattr(vendor.tests(), "WEBHOOKS", None)]


@pytest.mark.parametrize("vendor", TELLING, ids=str)
async def test_what_each_vendor_signs_is_stored_once(
    emptied: str, rows: Rows, vendor: Vendor
) -> None:
    made = vendor.webhooks()
    assert made is not None
    old, new = made.secret(), made.secret()
    async with serving(emptied, public_url=PUBLIC) as (app, client):
        with trusting(vendor, old, new):
            first = await send(client, old.sign(made.body), str(vendor))
            again = await send(client, new.sign(made.body), str(vendor))
            stranger = await send(client, made.secret().sign(made.body), str(vendor))
        assert (first.status_code, first.json()["new"]) == (200, len(made.ids)), first.text
        assert (again.status_code, again.json()) == (200, {"events": len(made.ids), "new": 0})
        is_problem(stranger, 400, "forged")
        counted = {outcome: n for (_, outcome), n in app.state.doors.counts.items()}
    assert counted == {"accepted": 1, "duplicate": 1, "forged": 1}
    stored = rows()
    assert tuple(row["event_id"] for row in stored) == made.ids
    assert {(row["vendor"], row["via"]) for row in stored} == {(str(vendor), "webhook")}
    assert all(row["due_at"] and row["handled_at"] is None for row in stored)


async def test_a_hundred_at_once_are_one(emptied: str, rows: Rows, secret: Secret) -> None:
    delivery = secret.sign(event())
    async with serving(emptied) as (_, one), serving(emptied) as (_, other):
        answers = await asyncio.gather(*(send(c, delivery) for c in [one, other] * 50))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["new"] for answer in answers) == 1
    (row,) = rows()
    assert (row["event_id"], row["type"]) == ("evt_1", "charge.succeeded")
    assert row["payload"] == json.loads(delivery.body)
    assert row["at"] == datetime.fromtimestamp(1795556943, UTC)


async def test_the_signature_is_the_credential(database_url: str, secret: Secret) -> None:
    """No token is asked for, and any host and origin will do: a tunnel sends its own."""
    for tokens in (["token"], []):
        async with serving(database_url, tokens=tokens) as (_, client):
            headers = {"Host": "tunnel.example", "Origin": "https://evil.example"}
            answer = await send(client, secret.sign(event()), **headers)
            assert answer.status_code == 200
            is_problem(await client.post("/webhooks/stripe", headers=headers), 400, "forged")
            got = await client.get("/webhooks/stripe", headers={"Host": "tunnel.example"})
            assert got.status_code == (401 if tokens else 421)


async def test_only_post_works_there(client: httpx.AsyncClient, secret: Secret) -> None:
    is_problem(await client.put("/webhooks/stripe"), 405, "method-not-allowed")


@pytest.mark.parametrize("name", ["paypal", "s3", "nobody", "", "stripe/", "../v1/jobs", "%00"])
async def test_a_closed_door_is_a_404(
    emptied: str, secret: Secret, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("PAYPAL_WEBHOOK_ID", raising=False)
    async with serving(emptied, tokens=["token"]) as (app, client):
        found = await client.post(f"http://localhost/webhooks/{name}", content=b"x" * 10)
        assert found.status_code in (404, 401)
        if name != "../v1/jobs":
            is_problem(found, 404, "not-found")
        closed = {("paypal", "closed"): 1} if name == "paypal" else {}
        assert dict(app.state.doors.counts) == closed


async def test_an_empty_secret_closes_the_door(
    client: httpx.AsyncClient, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", " , ")
    is_problem(await send(client, secret.sign(event())), 404, "not-found")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"nothing", b"\xff", b'{"id": "evt_1"}'])
async def test_what_is_no_event_is_a_400(
    client: httpx.AsyncClient, rows: Rows, secret: Secret, body: bytes
) -> None:
    is_problem(await send(client, secret.sign(body)), 400, "no-event")
    assert rows() == []


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "\xfc"])
async def test_no_vendor_sends_that_type(
    client: httpx.AsyncClient, rows: Rows, secret: Secret, kind: str
) -> None:
    delivery = secret.sign(event())
    headers = [(b"content-type", kind.encode("latin-1"))]
    headers += [(name.encode(), value.encode()) for name, value in delivery.headers.items()]
    answer = await client.post("/webhooks/stripe", content=delivery.body, headers=headers)
    is_problem(answer, 415, "unsupported-media-type")
    assert rows() == []


async def in_pieces(body: bytes, sent: list[int] | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        piece = body[start : start + 65_536]
        yield piece
        if sent is not None:
            sent.append(len(piece))


@pytest.mark.parametrize("told", [{}, {"Content-Length": "10"}, {"Content-Length": "\xb2"}])
async def test_two_mebibytes_are_too_many_whatever_is_told_of_them(
    client: httpx.AsyncClient, rows: Rows, secret: Secret, told: dict[str, str]
) -> None:
    delivery = secret.sign(event(text="x" * 2 * MOST_BYTES))
    is_problem(await send(client, delivery), 413, "too-large")
    headers = {name: text.encode("latin-1") for name, text in {**delivery.headers, **told}.items()}
    sent: list[int] = []
    pieces = in_pieces(delivery.body, sent)
    answer = await client.post("/webhooks/stripe", content=pieces, headers=headers)
    is_problem(answer, 413, "too-large")
    assert answer.headers["connection"] == "close"
    # All is read, or the answer would be lost with the connection.
    assert sum(sent) == len(delivery.body)
    assert rows() == []


async def test_one_mebibyte_is_taken_in_pieces(
    client: httpx.AsyncClient, rows: Rows, secret: Secret
) -> None:
    body = event(text="x" * (MOST_BYTES - len(event(text=""))))
    assert len(body) == MOST_BYTES
    headers = secret.sign(body).headers
    answer = await client.post("/webhooks/stripe", content=in_pieces(body), headers=headers)
    assert answer.status_code == 200
    assert len(rows()) == 1


async def test_who_sends_slowly_is_not_waited_for(
    client: httpx.AsyncClient, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    monkeypatch.setattr(webhooks, "READ_SECONDS", 0.05)
    answer = await client.post("/webhooks/stripe", content=slowly())
    is_problem(answer, 408, "too-slow")


async def test_strangers_cannot_fill_the_memory(
    client: httpx.AsyncClient, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield b"x" * 90
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(webhooks, "MOST_HELD_BYTES", 100)
    first = asyncio.create_task(client.post("/webhooks/stripe", content=held()))
    await begun.wait()
    refused = await client.post("/webhooks/stripe", content=b"x" * 11)
    is_problem(refused, 503, "busy")
    assert refused.headers["retry-after"] == "1"
    go_on.set()
    is_problem(await first, 400, "forged")
    is_problem(await client.post("/webhooks/stripe", content=b"x" * 100), 400, "forged")


async def test_who_goes_away_is_not_answered(database_url: str, secret: Secret) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def answered(_: Any) -> None:
        raise AssertionError("answered")

    async with serving(database_url) as (app, _):
        scope = {"type": "http", "method": "POST", "path": "/webhooks/stripe", "headers": []}
        await app(scope, receive, answered)


async def test_the_document_tells_vendors_what_to_expect(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        document = (await client.get("/openapi.json")).json()
    post = document["paths"]["/webhooks/{vendor}"]["post"]
    assert set(post["responses"]) == {"200", "400", "404", "408", "413", "415", "503"}
    assert post["security"] == []
    assert [found["name"] for found in post["parameters"]] == ["vendor"]
