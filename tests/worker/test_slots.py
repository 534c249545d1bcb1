"""The slots of one process: no vendor ever holds all, and none that is free is left unused."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from worker.slots import Slots


class Rig:
    """Slots whose takers never end by themselves."""

    def __init__(self, limit: int, caps: dict[str, int] | None = None) -> None:
        self.slots = Slots(limit, lambda vendor: (caps or {}).get(vendor, limit))
        self.held: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, vendor: str, count: int = 1, patience: float = 30) -> None:
        for _ in range(count):
            self.slots.arrive(vendor)
            self.tasks.append(asyncio.create_task(self._take(vendor, patience)))
        await asyncio.sleep(0)

    async def _take(self, vendor: str, patience: float) -> None:
        if await self.slots.take(vendor, patience):
            self.held[vendor] += 1

    async def end(self, vendor: str, count: int = 1) -> None:
        for _ in range(count):
            self.held[vendor] -= 1
            self.slots.give_back(vendor)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_vendor_alone_holds_four_fifths() -> None:
    rig = Rig(200)
    await rig.ask("slow", 300)

    assert rig.held["slow"] == 160


async def test_two_slow_ones_leave_room_for_a_third() -> None:
    rig = Rig(90)
    for _ in range(90):
        await rig.ask("slow")
        await rig.ask("slower")
    assert rig.held == {"slow": 40, "slower": 40}

    await rig.ask("quick", 3)

    assert rig.held["quick"] == 3


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_few_slots_are_all_used(limit: int) -> None:
    rig = Rig(limit)
    await rig.ask("only", 10)

    assert rig.held["only"] == limit


async def test_a_slot_that_comes_free_goes_to_who_waits_with_the_fewest() -> None:
    rig = Rig(4)
    await rig.ask("slow", 6)
    await rig.ask("quick", 2)
    assert rig.held == {"slow": 4}

    await rig.end("slow")
    assert rig.held == {"slow": 3, "quick": 1}


async def test_a_cap_of_the_vendor_s_own() -> None:
    rig = Rig(50, {"narrow": 2})
    await rig.ask("narrow", 10)
    assert rig.held["narrow"] == 2

    await rig.end("narrow")
    assert rig.held["narrow"] == 2


async def test_who_waited_too_long_has_no_slot_and_takes_none_later() -> None:
    rig = Rig(1)
    await rig.ask("slow")
    await rig.ask("slow", patience=0.01)
    await rig.tasks[-1]
    await rig.end("slow")

    await rig.ask("slow")

    assert rig.held["slow"] == 1


async def test_who_is_cancelled_while_a_slot_comes_gives_it_on() -> None:
    rig = Rig(1)
    await rig.ask("slow")
    await rig.ask("slow")
    waiting = rig.tasks[-1]
    rig.held["slow"] -= 1
    rig.slots.give_back("slow")  # the slot is the waiting one's, which does not know it yet
    waiting.cancel()
    await asyncio.wait([waiting])

    await rig.ask("quick")

    assert rig.held == {"slow": 0, "quick": 1}


async def test_no_vendor_fills_the_room_in_which_messages_wait() -> None:
    rig = Rig(10)
    taken: Counter[str] = Counter()
    while rig.slots.has_room("slow"):
        rig.slots.arrive("slow")
        taken["slow"] += 1
    while rig.slots.has_room("quick"):
        rig.slots.arrive("quick")
        taken["quick"] += 1

    assert taken == {"slow": 5, "quick": 3}
