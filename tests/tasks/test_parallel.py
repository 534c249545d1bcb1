"""What bounds a part of a sync: workers, bytes in memory, bytes a second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from tasks._bandwidth import Bandwidth
from tasks._parallel import Budget, Together, in_order


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _hold(budget: Budget, size: int, told: list[int], end: asyncio.Event) -> None:
    async with budget.held(size):
        told.append(size)
        await end.wait()


async def test_no_more_bytes_are_held_than_there_are_and_who_came_first_is_first() -> None:
    budget, told, ends = Budget(10), list[int](), [asyncio.Event() for _ in range(4)]
    sizes = (6, 8, 3, 99)
    tasks = [
        asyncio.create_task(_hold(budget, size, told, end))
        for size, end in zip(sizes, ends, strict=True)
    ]
    await _settle()
    # The small one does not pass the one before it, although there is room.
    assert told == [6]
    ends[0].set()
    await _settle()
    assert told == [6, 8]
    ends[1].set()
    await _settle()
    assert told == [6, 8, 3]
    ends[2].set()
    await _settle()
    assert told == [6, 8, 3, 99]
    ends[3].set()
    await asyncio.gather(*tasks)
    async with budget.held(10):
        pass


async def test_who_gives_up_waiting_keeps_nothing_and_stands_in_nobodys_way() -> None:
    budget, told, end = Budget(10), list[int](), asyncio.Event()
    first = asyncio.create_task(_hold(budget, 6, told, end))
    await _settle()
    waits = asyncio.create_task(_hold(budget, 9, told, end))
    behind = asyncio.create_task(_hold(budget, 4, told, end))
    await _settle()
    waits.cancel()
    await _settle()
    assert told == [6, 4]
    end.set()
    await asyncio.gather(first, behind)

    # Cancelled in the very moment in which its turn has come.
    async with budget.held(10):
        late = asyncio.create_task(_hold(budget, 10, told, end))
        await _settle()
    late.cancel()
    await _settle()
    await asyncio.wait_for(_hold(budget, 10, told, end), 1)


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_answers_come_in_order_though_the_work_is_done_at_once() -> None:
    begun: list[int] = []
    ends = [asyncio.Event() for _ in range(4)]

    async def work(number: int) -> int:
        begun.append(number)
        await ends[number].wait()
        return number

    answers = in_order(_numbers(4), work, 2)
    first = asyncio.ensure_future(anext(answers))
    await _settle()
    assert begun == [0, 1, 2]
    for end in reversed(ends):
        end.set()
    assert [await first] + [number async for number in answers] == [0, 1, 2, 3]


async def test_the_first_error_ends_the_work_that_is_ahead() -> None:
    ended: list[int] = []

    async def work(number: int) -> int:
        if number == 0:
            raise ValueError
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)
        return number

    with pytest.raises(ValueError):  # noqa: PT011 - it has no words
        async for _ in in_order(_numbers(4), work, 2):
            pass
    assert ended == [1, 2]


async def test_bytes_are_taken_in_lumps_of_a_quarter_of_a_second() -> None:
    asked: list[int] = []

    async def turn(size: int) -> float:
        asked.append(size)
        return 0.0

    bandwidth = Bandwidth(1000, turn)
    for size in (100, 100, 100, 900, 10):
        await bandwidth.take(size)
    # 250 for the first two, 250 more with the third, what lacks for the large one, and so on.
    assert asked == [250, 250, 700, 250]

    await Bandwidth(None, turn).take(10**9)
    assert len(asked) == 4


async def test_a_lump_is_waited_for_as_long_as_the_ledger_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def turn(size: int) -> float:
        return size / 1000

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Bandwidth(1000, turn).take(2000)
    assert waited == [2.0]


async def test_what_comes_while_a_thread_is_busy_goes_together_and_each_gets_its_own() -> None:
    threads: list[int] = []
    may_end = threading.Event()

    def work(number: int) -> int:
        threads.append(threading.get_ident())
        may_end.wait(5)
        if number == 2:
            raise ValueError(number)
        return number

    together, hops = Together(), list[int]()
    real = asyncio.to_thread

    async def counted(work: Callable[..., Any], *args: Any) -> Any:
        hops.append(len(args[0]))
        return await real(work, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio, "to_thread", counted)
        first = asyncio.create_task(together.run(partial(work, 0)))
        await _settle()
        rest = [asyncio.create_task(together.run(partial(work, number))) for number in (1, 2, 3)]
        await _settle()
        rest[2].cancel()
        may_end.set()
        assert await first == 0
        answers = await asyncio.gather(*rest, return_exceptions=True)
        assert await together.run(partial(work, 4)) == 4

    # What was given up before its turn is not done at all.
    assert (hops, len(threads)) == ([1, 2, 1], 4)
    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)
    assert isinstance(answers[2], asyncio.CancelledError)
