"""Webhooks between vendor and ledger: what the adapter is given and tells, what cannot be kept, and
a ledger that is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest

from adapters import _base
from adapters._base import Delivery, Event, Misconfigured, Unavailable
from api import doors
from models import events
from models.events import Packed, Received
from tests.api.conftest import NOWHERE, serving
from tests.api.proxy import proxied
from tests.api.signed import PUBLIC, Rows, event, is_problem, send
from tests.contract.operations import Secret

AT = datetime(2030, 1, 31, tzinfo=UTC)


class Stub(_base.Adapter):
    """A vendor whose signature is always right."""

    vendor = "stripe"
    webhook_secrets = ("STRIPE_WEBHOOK_SECRET",)

    def __init__(self) -> None:
        self.seen: list[Delivery] = []
        self.told: Callable[[], Sequence[Event]] = lambda: [told("evt_1")]

    def takes_webhooks(self) -> bool:
        return True

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        self.seen.append(delivery)
        return self.told()


def told(id: str, at: datetime = AT, type: str = "told", **payload: Any) -> Event:
    return Event(id, type, at, payload)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setattr(doors, "adapter", lambda _: made)
    return made


@pytest.mark.parametrize("public", [f"{PUBLIC}/", f"{PUBLIC}/ferry", None])
async def test_the_address_is_the_public_one(
    database_url: str, stub: Stub, public: str | None
) -> None:
    forwarded = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "Forwarded": "host=evil.example",
    }
    async with serving(database_url, public_url=public) as (_, client):
        await client.post("/webhooks/stripe?b=%20%C3%BC&a", headers=forwarded)
    url = public and f"{public.rstrip('/')}/webhooks/stripe?b=%20%C3%BC&a"
    assert stub.seen[0].url == url


async def test_a_header_that_comes_twice_is_both(client: httpx.AsyncClient, stub: Stub) -> None:
    await client.post("/webhooks/stripe", headers=[("X-One", "a"), ("x-one", "b")])
    assert stub.seen[0].headers["x-one"] == "a, b"


@pytest.mark.parametrize(
    ("error", "again"),
    [(Unavailable("no certificate", retry_after=6.2), "7"), (Misconfigured("no root"), "1")],
)
async def test_what_cannot_be_verified_now_is_to_be_sent_again(
    client: httpx.AsyncClient, rows: Rows, stub: Stub, error: Exception, again: str
) -> None:
    def fail() -> Sequence[Event]:
        raise error

    stub.told = fail
    answer = await client.post("/webhooks/stripe")
    is_problem(answer, 503, "unverifiable")
    assert answer.headers["retry-after"] == again
    assert rows() == []


async def test_a_surprise_is_a_problem_too(client: httpx.AsyncClient, stub: Stub) -> None:
    stub.told = lambda: 1 // 0  # type: ignore[return-value]
    is_problem(await client.post("/webhooks/stripe"), 500, "internal-error")


UNFIT = {
    "a long id": told("x" * 256),
    "no id": told(""),
    "a long type": told("evt_2", type="x" * 256),
    "an early time": told("evt_2", at=datetime(1, 1, 1, tzinfo=UTC)),
    "a late time": told("evt_2", at=datetime(9999, 12, 31, 23, tzinfo=UTC)),
    "half a surrogate": told("evt_2", text="\ud800"),
    "a huge number": told("evt_2", number=1 << 70),
}


@pytest.mark.parametrize("bad", UNFIT.values(), ids=UNFIT)
async def test_an_event_that_cannot_be_kept_takes_no_other_with_it(
    client: httpx.AsyncClient, rows: Rows, stub: Stub, bad: Event
) -> None:
    stub.told = lambda: [told("evt_1"), bad, told("evt_3")]
    is_problem(await client.post("/webhooks/stripe"), 400, "no-event")
    assert [row["event_id"] for row in rows()] == ["evt_1", "evt_3"]


async def test_what_looks_bad_but_can_be_kept(
    client: httpx.AsyncClient, rows: Rows, stub: Stub
) -> None:
    nul = told("evt\0_1", text="a\0b", deep=json.loads("[" * 200 + "]" * 200))
    stub.told = lambda: [nul, nul, told("x" * 255), told("\U0001f600" * 255)]
    answer = await client.post("/webhooks/stripe")
    assert (answer.status_code, answer.json()) == (200, {"events": 4, "new": 3})
    (stored,) = (row for row in rows() if row["payload"])
    assert stored["payload"]["text"] == "a\ufffdb"


async def test_one_that_the_ledger_refuses_fails_alone(
    client: httpx.AsyncClient, rows: Rows, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, ids = events.pack, (f"evt_{n}" for n in count())

    def spoilt(event: Received) -> Packed:
        made = pack(event)
        bad = event.event_id in ("evt_7", "evt_20")
        return Packed(made.id, made.json.replace("2030-01-31", "soon")) if bad else made

    monkeypatch.setattr(events, "pack", spoilt)
    stub.told = lambda: [told(next(ids))]
    answers = await asyncio.gather(*(client.post("/webhooks/stripe") for _ in range(20)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(400)) == (19, 1)
    assert "evt_7" not in {row["event_id"] for row in rows()}
    # Nor is the ledger taken to be away for it.
    is_problem(await client.post("/webhooks/stripe"), 400, "no-event")
    answers = await asyncio.gather(*(client.post("/webhooks/stripe") for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_no_ledger_is_a_503(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(f"postgresql://nobody@{NOWHERE}/nothing") as (app, client):
        app.state.doors.patience_seconds = 0.1
        answer = await send(client, secret.sign(event()))
        is_problem(answer, 503, "ledger-down")
        assert answer.headers["retry-after"] == "1"
        is_problem(await client.post("/webhooks/stripe"), 400, "forged")
        assert app.state.doors.counts["stripe", "ledger_down"] == 1


async def test_without_the_schema_it_is_a_503(ledger_url: str, secret: Secret) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA ferryman CASCADE")
    async with serving(ledger_url) as (_, client):
        answer = await send(client, secret.sign(event()))
        is_problem(answer, 503, "ledger-down")
        assert "ferryman migrate" in answer.json()["detail"]


async def test_a_silent_ledger_holds_nobody_up(emptied: str, rows: Rows, secret: Secret) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (app, client):
        app.state.doors.patience_seconds = 0.3
        assert (await send(client, secret.sign(event("evt_0")))).status_code == 200
        proxy.freeze()
        is_problem(await send(client, secret.sign(event("evt_1"))), 503, "ledger-down")
        # One asks whether it is back; the others hear at once that it is not.
        asking = asyncio.create_task(send(client, secret.sign(event("evt_2"))))
        await asyncio.sleep(0.05)
        assert not asking.done()
        async with asyncio.timeout(0.1):
            is_problem(await send(client, secret.sign(event("evt_3"))), 503, "ledger-down")
        is_problem(await asking, 503, "ledger-down")
        proxy.thaw()
        app.state.doors.patience_seconds = 5
        # What was given up may be there: sent again, it is known.
        assert (await send(client, secret.sign(event("evt_0")))).status_code == 200
        again = (send(client, secret.sign(event(f"evt_{n}"))) for n in range(1, 4))
        assert {answer.status_code for answer in await asyncio.gather(*again)} == {200}
    assert {row["event_id"] for row in rows()} == {"evt_0", "evt_1", "evt_2", "evt_3"}
    assert len(rows()) == 4


async def test_a_lost_connection_is_not_noticed(emptied: str, rows: Rows, secret: Secret) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (_, client):
        assert (await send(client, secret.sign(event("evt_0")))).status_code == 200
        proxy.cut()
        assert (await send(client, secret.sign(event("evt_1")))).status_code == 200
        # Stored, and nobody heard of it: the second try finds it known.
        proxy.cut_after(b"ferryman.events")
        assert (await send(client, secret.sign(event("evt_2")))).status_code == 200
    assert len(rows()) == 3
