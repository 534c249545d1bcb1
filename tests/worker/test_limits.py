"""The rate of a vendor, counted in a real broker by several processes together."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from adapters._base import Throttled
from ferryman.policies import Policy, policies
from ferryman.settings import settings
from worker.limits import FRESH_SECONDS, AttemptPace, NoToken, Rates

RATE, BURST = 50.0, 5


def rated(rate: float = RATE, burst: int = BURST) -> dict[str, Policy]:
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
    """When tokens were had, by ten jobs a process that want the next one at once."""
    times: list[float] = []
    end = time.monotonic() + seconds

    async def want(process: Rates) -> None:
        while time.monotonic() < end:
            try:
                await process.take("stripe")
            except NoToken:
                continue
            times.append(time.monotonic())

    await asyncio.gather(*(want(process) for process in processes for _ in range(each)))
    return sorted(times)


def most_within_a_second(times: list[float]) -> int:
    return max(sum(1 for t in times if start <= t < start + 1) for start in times)


async def test_never_more_than_rate_and_burst_in_a_second(processes: list[Rates]) -> None:
    times = await taken(processes, 2)

    assert most_within_a_second(times) <= RATE + BURST
    assert len(times) >= 1.5 * RATE


async def test_a_wiped_broker_gives_nothing_away(processes: list[Rates], broker_url: str) -> None:
    loop = asyncio.get_running_loop()
    with redis.Redis.from_url(broker_url) as broker:
        for seconds in (0.6, 0.8, 1.1):
            loop.call_later(seconds, broker.flushdb)
        times = await taken(processes, 2)

    assert most_within_a_second(times) <= RATE + BURST
    assert len(times) >= 1.2 * RATE


async def test_a_missing_key_is_an_empty_bucket(processes: list[Rates]) -> None:
    process, _ = processes
    with pytest.raises(NoToken) as none:
        await process.take_now("stripe")

    assert 0 < none.value.seconds <= 2 / RATE
    await asyncio.sleep(BURST / RATE + 0.1)
    for _ in range(BURST):
        await process.take_now("stripe")


async def test_a_clock_that_went_back_does_not_close_the_vendor(
    processes: list[Rates], broker_url: str
) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        broker.set("ferryman:rate:stripe", int((time.time() + 3600) * 1e6))

    await processes[0].take("stripe")


async def test_who_cannot_be_served_within_a_second_is_told_when(broker_url: str) -> None:
    async with rates(broker_url, rate=0.5, burst=1) as slow:
        with pytest.raises(NoToken) as none:
            await slow.take("stripe")

    assert 1 < none.value.seconds <= 2


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


async def test_a_token_that_has_aged_is_changed_for_another(processes: list[Rates]) -> None:
    pace = AttemptPace("stripe", processes[0])
    await pace.admit()
    await pace.take()
    await pace.renew()
    await asyncio.sleep(FRESH_SECONDS)
    await pace.renew()
    await asyncio.sleep(FRESH_SECONDS)
    while True:  # nothing is left in the bucket
        try:
            await processes[1].take_now("stripe")
        except NoToken:
            break

    with pytest.raises(Throttled) as throttled:
        await pace.renew()

    assert throttled.value.local


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
