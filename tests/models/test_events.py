"""Events are stored once, whichever way they come; one that cannot be kept is left out."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from uuid_utils.compat import uuid7

from models import events
from models.engine import async_engine
from models.events import Received, Unfit
from models.group import GroupCommit, Line

AT = datetime(2030, 1, 31, tzinfo=UTC)


def received(id: str, at: datetime = AT, **payload: Any) -> Received:
    return Received(uuid7(), "stripe", id, "told", at, payload, via="poll")


def stored(url: str) -> list[str]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT event_id FROM ferryman.events ORDER BY event_id")
        return [row["event_id"] for row in found]


async def test_a_poll_leaves_out_what_cannot_be_kept(
    ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = async_engine(ledger_url, connections=1)
    strange = received("secret-2", at=datetime(1, 1, 1, tzinfo=UTC))
    with caplog.at_level(logging.WARNING):
        async with engine.begin() as connection:
            page = [received("one"), strange, received("three"), received("one")]
            assert await events.store(connection, page) == 2
            assert await events.store(connection, [received("one"), received("four")]) == 1
            assert await events.store(connection, []) == 0
    await engine.dispose()
    assert stored(ledger_url) == ["four", "one", "three"]
    assert "stripe is left out: its time is absurd" in caplog.text
    assert "secret" not in caplog.text


async def test_each_delivery_hears_how_many_of_its_own_are_new(ledger_url: str) -> None:
    line = Line(ledger_url)
    async with line.connection() as connection:

        async def receive(*deliveries: list[str]) -> list[int]:
            packed = [[events.pack(received(one)) for one in ids] for ids in deliveries]
            return await events.receive(connection, packed)

        assert await receive(["a", "b"], ["c"]) == [2, 1]
        assert await receive(["a", "d"], ["c"], ["e", "f"]) == [1, 0, 2]
        assert await receive(["a"], ["b"]) == [0, 0]
        assert sum(await receive(["g"], ["g"], ["g", "g"])) == 1
    await line.close()


async def test_groups_with_the_same_events_do_not_lock_each_other_out(ledger_url: str) -> None:
    lines = [Line(ledger_url) for _ in range(3)]
    desks = [GroupCommit(line, events.receive, patience_seconds=5) for line in lines]
    ids = [f"evt_{n}" for n in range(40)]
    orders = [ids, ids[::-1], ids[20:] + ids[:20]]
    told = await asyncio.gather(
        *(
            desk([events.pack(received(one))])
            for desk, order in zip(desks, orders, strict=True)
            for one in order
        )
    )
    assert sum(told) == len(ids)
    for line in lines:
        await line.close()


@pytest.mark.parametrize("number", [float("inf"), 1e308, -(1 << 63), 0.1])
def test_numbers_are_kept(number: float) -> None:
    assert events.size_of([events.pack(received("a", number=number))]) > 50


@pytest.mark.parametrize("value", ["\ud800", 1 << 64, {1, 2}])
def test_what_is_no_json_is_unfit(value: object) -> None:
    with pytest.raises(Unfit, match="kept as JSON"):
        events.pack(received("a", value=value))
