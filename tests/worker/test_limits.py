"""The rate of a vendor, counted in a real broker by several processes together."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import redis

from adapters._base import Throttled
from ferryman.policies import Policy, policies
from ferryman.settings import settings
from worker.limits import (
    AHEAD_SECONDS,
    DRIFT,
    LATE_SECONDS,
    AttemptPace,
    Clock,
    NoToken,
    Rates,
    Slot,
)

RATE = 50.0


def rated(rate: float = RATE, burst: int = 1) -> dict[str, Policy]:
    limits = {"rate_per_second": rate, "rate_burst": burst}
    return {"stripe": policies()["stripe"].model_copy(update=limits)}


@asynccontextmanager
async def rates(broker_url: str, **limits: float) -> AsyncIterator[Rates]:
    made = Rates(broker_url, rated(**limits))  # type: ignore[arg-type]
    yield made
    await made.close()


@pytest.fixture
async def processes(broker_url: str) -> AsyncIterator[list[Rates]]:
    async with rates(broker_url) as one, rates(broker_url) as other:
        yield [one, other]


async def taken(processes: list[Rates], seconds: float, each: int = 10) -> list[float]:
    """When slots began, had by ten jobs a process that want the next one at once."""
    times: list[float] = []
    end = time.monotonic() + seconds

    async def want(process: Rates) -> None:
        while time.monotonic() < end:
            try:
                slot = await process.take("stripe")
            except NoToken:
                continue
            times.append((slot.begins + slot.ends - LATE_SECONDS) / 2)

    await asyncio.gather(*(want(process) for process in processes for _ in range(each)))
    return sorted(times)


def most_within_a_second(times: list[float]) -> int:
    """Where each may be as late as can be, or as early."""
    return max(sum(1 for t in times if start <= t < start + 1 + DRIFT) for start in times)


async def test_a_rate_is_used_to_its_end_and_never_beyond(processes: list[Rates]) -> None:
    times = await taken(processes, 2)

    # What two clocks differ by, and microseconds.
    assert most_within_a_second(times) <= RATE + 1
    assert len(times) / (times[-1] - times[0]) == pytest.approx(RATE / (1 + DRIFT), rel=0.02)


async def test_slots_of_several_processes_are_one_after_another(processes: list[Rates]) -> None:
    times = await taken(processes, 1)

    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) > 0.8 * (1 + DRIFT) / RATE


async def test_a_wiped_broker_gives_nothing_away(processes: list[Rates], broker_url: str) -> None:
    loop = asyncio.get_running_loop()
    with redis.Redis.from_url(broker_url) as broker:
        for seconds in (0.6, 0.8, 1.1):
            loop.call_later(seconds, broker.flushdb)
        times = await taken(processes, 2)

    assert most_within_a_second(times) <= RATE + 1
    assert len(times) >= RATE


async def test_a_missing_key_is_one_from_which_all_was_given_away(processes: list[Rates]) -> None:
    slot = await processes[0].take("stripe")

    assert slot.begins - time.monotonic() == pytest.approx(AHEAD_SECONDS, abs=0.05)


async def test_after_a_pause_as_many_go_at_once_as_may(broker_url: str) -> None:
    async with rates(broker_url, burst=5) as process:
        await process.take("stripe")
        await asyncio.sleep(AHEAD_SECONDS + 6 / RATE)
        slots = [await process.take("stripe") for _ in range(7)]

    begins = [slot.begins for slot in slots]
    assert begins[4] - begins[0] < 0.5 / RATE + 7 * LATE_SECONDS
    assert begins[6] - begins[4] > 1.5 / RATE


async def test_a_clock_that_went_back_does_not_close_the_vendor(
    processes: list[Rates], broker_url: str
) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        broker.set("ferryman:rate:stripe", int((time.time() + 3600) * 1e6))

    await processes[0].take("stripe")


async def test_who_cannot_be_served_within_a_second_is_told_when(broker_url: str) -> None:
    async with rates(broker_url, rate=0.4) as slow:
        with pytest.raises(NoToken) as none:
            await slow.take("stripe")

    assert 1 < none.value.seconds <= 2.6


async def test_who_has_begun_goes_before_those_that_have_not(broker_url: str) -> None:
    served: list[str] = []

    async def want(name: str, slot: Awaitable[Slot]) -> None:
        await slot
        served.append(name)

    async with rates(broker_url, rate=20) as process:
        later = [want("new", process.admit("stripe")) for _ in range(4)]
        await asyncio.gather(*later, want("begun", process.take("stripe")))

    assert served.index("begun") <= 1


def refused() -> str:
    return "redis://127.0.0.1:1/0"


def silent() -> str:
    listening = socket.create_server(("127.0.0.1", 0))
    SILENT.append(listening)
    return f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


SILENT: list[socket.socket] = []


@pytest.mark.parametrize("broker", [refused, silent])
async def test_without_the_broker_nothing_is_given(broker: Callable[[], str]) -> None:
    async with rates(broker()) as away:
        started = time.monotonic()
        with pytest.raises(NoToken):
            await asyncio.gather(*(away.take("stripe") for _ in range(20)))

    assert time.monotonic() - started < 1.5


async def test_a_request_leaves_when_its_slot_begins(processes: list[Rates]) -> None:
    pace = AttemptPace("stripe", processes[0])
    await pace.admit()
    slot = pace._slot
    assert slot is not None
    await pace.take()
    assert pace._slot is slot, "one is enough"
    await pace.renew()

    assert slot.begins <= time.monotonic() <= slot.ends or pace._slot is not slot


async def test_a_slot_that_has_passed_is_changed_for_another(processes: list[Rates]) -> None:
    pace = AttemptPace("stripe", processes[0])
    await pace.admit()
    passed = pace._slot
    assert passed is not None
    await asyncio.sleep(passed.ends - time.monotonic() + 0.01)
    await pace.renew()
    left = time.monotonic()

    assert left > passed.ends
    following = await processes[1].take("stripe")
    assert following.begins > left, "what left had a slot of its own"


async def test_a_process_that_is_held_up_at_its_slot_takes_another(processes: list[Rates]) -> None:
    pace = AttemptPace("stripe", processes[0])
    now = time.monotonic()
    pace._slot = Slot(now + 0.02, now + 0.03)
    asyncio.get_running_loop().call_later(0.01, time.sleep, 0.06)
    await pace.renew()

    # The first that is ever given begins so long after it was asked for.
    assert time.monotonic() - now > 0.06 + AHEAD_SECONDS


async def test_a_passed_slot_without_another_is_a_throttle_of_our_own(
    processes: list[Rates], broker_url: str
) -> None:
    pace = AttemptPace("stripe", processes[0])
    await pace.admit()
    assert pace._slot is not None
    pace._slot = Slot(0.0, 0.0)
    with redis.Redis.from_url(broker_url) as broker:
        broker.delete("ferryman:rate:stripe")
        broker.lpush("ferryman:rate:stripe", "no number")

    with pytest.raises(Throttled) as throttled:
        await pace.renew()

    assert throttled.value.local


def test_a_slow_answer_widens_no_clock() -> None:
    clock = Clock()
    clock.see(asked=10.0, broker=110.001, told=10.002)
    clock.see(asked=10.1, broker=110.3, told=10.5)
    slot = clock.slot(111.0)

    assert 11.0 <= slot.begins < 11.002
    assert slot.ends - LATE_SECONDS == pytest.approx(11.0, abs=0.002)


def test_a_clock_that_was_set_is_believed() -> None:
    clock = Clock()
    clock.see(asked=10.0, broker=110.001, told=10.002)
    clock.see(asked=11.0, broker=50.001, told=11.002)

    assert clock.slot(51.0).begins == pytest.approx(12.0, abs=0.01)


async def test_a_vendor_without_a_rate_asks_nobody() -> None:
    unlimited = Rates(refused(), rated(rate=0))
    pace = AttemptPace("stripe", unlimited)

    await pace.admit()
    await pace.take()
    await pace.renew()


def test_an_operator_s_rate_goes_over_the_vendor_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "rate_per_second", 0.0)
    policies.cache_clear()
    try:
        assert {policy.rate_per_second for policy in policies().values()} == {0}
    finally:
        policies.cache_clear()
