"""Group commit: one statement for many, and an answer for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from models.group import MOST_BYTES, Connection, GroupCommit, LedgerDown, Line


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Line]:
    made = Line(database_url)
    yield made
    await made.close()


async def test_many_go_as_one_and_each_gets_its_own_answer(line: Line) -> None:
    sizes: list[int] = []

    async def statement(connection: Connection, items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return [item * 2 for item in items]

    group = GroupCommit(line, statement)
    answers = await asyncio.gather(*(group(n) for n in range(50)))

    assert answers == [n * 2 for n in range(50)]
    assert sizes == [50]


async def test_large_ones_go_few_at_a_time(line: Line) -> None:
    sizes: list[int] = []

    async def statement(connection: Connection, items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return list(items)

    group = GroupCommit(line, statement, size=lambda item: item)
    await asyncio.gather(*(group(MOST_BYTES // 2) for _ in range(5)), group(MOST_BYTES * 2))

    assert sizes == [2, 2, 1, 1]


async def test_a_bad_row_harms_no_other(line: Line) -> None:
    async def statement(connection: Connection, items: Sequence[str]) -> list[str]:
        for item in items:
            await connection.execute("SELECT CAST(%s AS int)", (item,))
        return list(items)

    group = GroupCommit(line, statement)
    answers = await asyncio.gather(
        *(group(item) for item in ("1", "bad", "3")), return_exceptions=True
    )

    assert (answers[0], answers[2]) == ("1", "3")
    assert isinstance(answers[1], psycopg.Error)


async def test_a_lost_connection_is_repeated(line: Line) -> None:
    tries: list[int] = []

    async def statement(connection: Connection, items: Sequence[int]) -> list[int]:
        tries.append(len(items))
        if len(tries) < 3:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return list(items)

    assert await GroupCommit(line, statement)(7) == 7
    assert tries == [1, 1, 1]


async def test_patience_ends() -> None:
    line = Line("postgresql://nobody@127.0.0.1:1/nowhere")

    async def statement(connection: Connection, items: Sequence[int]) -> list[int]:
        return list(items)

    with pytest.raises(LedgerDown):
        await GroupCommit(line, statement, patience_seconds=0.3)(1)
