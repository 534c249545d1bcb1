"""Whom nothing is sent to: the stronger reason stays, and a person can add, find and free one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import suppressions
from models.engine import async_engine
from tests.harness import until

Ledger = psycopg.Connection[Any]
Row = dict[str, Any]

URL = "/v1/suppressions"
EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def row(address: str, reason: str, *, channel: str = "email", source: str = "a test") -> Row:
    return {"channel": channel, "address": address, "reason": reason, "source": source}


@pytest.fixture
async def engine(emptied: str) -> AsyncIterator[AsyncEngine]:
    made = async_engine(emptied, connections=2)
    yield made
    await made.dispose()


async def added(engine: AsyncEngine, *rows: Row) -> int:
    async with engine.begin() as connection:
        return await suppressions.add(connection, rows)


def kept(ledger: Ledger) -> list[tuple[str, str]]:
    found = ledger.execute("SELECT * FROM ferryman.suppressions ORDER BY channel, address")
    return [(one["address"], one["reason"]) for one in found]


@pytest.mark.parametrize(
    ("stronger", "weaker"), list(itertools.combinations(suppressions.STRENGTH, 2))
)
async def test_the_stronger_reason_stays(
    engine: AsyncEngine, ledger: Ledger, stronger: str, weaker: str
) -> None:
    """Whichever came first, and also within one call."""
    assert await added(engine, row("a@x.test", stronger), row("b@x.test", weaker)) == 2
    assert await added(engine, row("a@x.test", weaker), row("b@x.test", stronger)) == 0
    both = [row("c@x.test", weaker), row("c@x.test", stronger), row("c@x.test", weaker)]
    assert await added(engine, *both) == 1
    assert kept(ledger) == [(f"{one}@x.test", stronger) for one in "abc"]


async def test_the_first_to_say_the_same_stays(engine: AsyncEngine, ledger: Ledger) -> None:
    await added(engine, row("a@x.test", "bounce", source="first") | {"at": EARLY})
    await added(engine, row("a@x.test", "bounce", source="second"))
    found = ledger.execute("SELECT source, at FROM ferryman.suppressions").fetchall()
    assert found == [{"source": "first", "at": EARLY}]


async def test_addresses_have_no_capitals(engine: AsyncEngine, ledger: Ledger) -> None:
    assert await added(engine, row("Ada@X.test", "bounce"), row("aDA@x.test", "manual")) == 1
    assert kept(ledger) == [("ada@x.test", "bounce")]
    async with engine.begin() as connection:
        assert await suppressions.one(connection, "email", "ADA@x.test")
        assert await suppressions.one(connection, "sms", "ada@x.test") is None
        assert await suppressions.remove(connection, "email", "ADA@x.test")
        assert not await suppressions.remove(connection, "email", "ADA@x.test")
    assert await added(engine) == 0


async def test_it_locks_in_the_order_of_addresses(
    emptied: str, engine: AsyncEngine, ledger: Ledger
) -> None:
    """Two that add the same in another order would else wait for each other for ever."""
    insert = "INSERT INTO ferryman.suppressions VALUES ('email', %s, 'bounce', 'a test')"
    with psycopg.connect(emptied) as other:
        other.execute(insert, ("m@x.test",))
        rows = [row(address, "bounce") for address in ("z@x.test", "M@x.test", "a@x.test")]
        waits = asyncio.create_task(added(engine, *rows))
        blocked = "SELECT FROM pg_locks WHERE NOT granted"
        await asyncio.to_thread(until, lambda: ledger.execute(blocked).fetchall() != [])
        ledger.execute("SET lock_timeout = '1s'")
        ledger.execute(insert, ("z@x.test",))
        other.rollback()
    assert await waits == 2
    assert len(kept(ledger)) == 3


async def test_a_person_adds_and_frees_one(client: httpx.AsyncClient, ledger: Ledger) -> None:
    given = {"channel": "email", "address": "Ada@Example.COM", "note": "called us"}
    answer = await client.post(URL, json=given)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made.pop("at").endswith("Z")
    assert made == row("ada@example.com", "manual", source="the API: called us")
    again = await client.post(URL, json={"channel": "email", "address": "ada@example.com"})
    assert again.status_code == 200
    assert again.json()["source"] == "the API: called us"
    assert (await client.get(URL)).json() == {"suppressions": [again.json()], "next": None}
    gone = await client.delete(f"{URL}/email/ADA%40example.com")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.delete(f"{URL}/email/ada@example.com")).status_code == 404
    assert kept(ledger) == []


async def test_a_persons_word_is_not_stronger_than_a_bounce(
    engine: AsyncEngine, client: httpx.AsyncClient
) -> None:
    await added(engine, row("ada@example.com", "bounce"), row("bob@example.com", "unsubscribe"))
    for name, reason in (("ada", "bounce"), ("bob", "manual")):
        given = {"channel": "email", "address": f"{name}@example.com"}
        answer = await client.post(URL, json=given)
        assert (answer.status_code, answer.json()["reason"]) == (200, reason)


async def test_numbers_are_written_in_one_way(client: httpx.AsyncClient) -> None:
    given = {"channel": "sms", "address": "+44 (1632) 960-961"}
    made = await client.post(URL, json=given)
    assert (made.status_code, made.json()["address"]) == (201, "+441632960961")
    # The second one as a client sends it that quotes nothing.
    for written in ("%2B44%201632%20960961", "+441632960961"):
        found = (await client.get(f"{URL}?address={written}")).json()["suppressions"]
        assert found == [made.json()]
    assert (await client.delete(f"{URL}/email/+441632960961")).status_code == 404
    assert (await client.delete(f"{URL}/sms/+44 1632 960961")).status_code == 204


async def test_an_address_with_a_slash_can_be_freed(
    engine: AsyncEngine, client: httpx.AsyncClient
) -> None:
    """Nor need it be an address by our rules: it may be on a vendor's list."""
    for address in ("a/b@example.com", "no address"):
        await added(engine, row(address, "invalid"))
        quoted = address.replace("/", "%2F")
        assert (await client.delete(f"{URL}/email/{quoted}")).status_code == 204


async def test_pages_and_filters(engine: AsyncEngine, client: httpx.AsyncClient) -> None:
    many = [row(f"{n}@x.test", "bounce" if n % 2 else "complaint") for n in range(5)]
    await added(engine, *many, row("+441632960961", "unsubscribe", channel="sms"))

    async def pages(**filters: Any) -> list[list[str]]:
        found, cursor = [], None
        while True:
            asked = filters | ({"cursor": cursor} if cursor else {})
            page = (await client.get(URL, params=asked)).json()
            found.append([one["address"] for one in page["suppressions"]])
            if (cursor := page["next"]) is None:
                return found

    names = [f"{n}@x.test" for n in range(5)]
    assert await pages(limit=2) == [names[:2], names[2:4], [names[4], "+441632960961"]]
    assert await pages(limit=2, channel="email") == [names[:2], names[2:4], names[4:]]
    assert await pages(reason="complaint", limit=2) == [["0@x.test", "2@x.test"], ["4@x.test"]]
    assert await pages(address="3@X.test") == [["3@x.test"]]
    assert await pages(address="3@x.test", channel="sms") == [[]]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"channel": "email", "address": "ada"}, "address"),
        ({"channel": "email", "address": "ada@example.com\r\n"}, "address"),
        ({"channel": "email", "address": "+441632960961"}, "address"),
        ({"channel": "sms", "address": "ada@example.com"}, "address"),
        ({"channel": "sms", "address": "01632 960961"}, "address"),
        ({"channel": "post", "address": "ada@example.com"}, "channel"),
        ({"address": "ada@example.com"}, "channel"),
        ({"channel": "email", "address": "ada@example.com", "reason": "bounce"}, "reason"),
    ],
)
async def test_what_is_no_address_is_refused(
    client: httpx.AsyncClient, ledger: Ledger, given: Row, field: str
) -> None:
    answer = await client.post(URL, json=given)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert kept(ledger) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("channel=post", "channel"),
        ("reason=whim", "reason"),
        ("chanel=email", "chanel"),
        ("limit=201", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=cG9zdCBh", "cursor"),
        ("cursor=ZW1haWwgAA==", "cursor"),
        ("address=%00", "address"),
    ],
)
async def test_a_query_that_means_nothing(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await client.get(f"{URL}?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
