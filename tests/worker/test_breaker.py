"""The breaker, cool-down, pause and quota of one vendor, as several processes see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from adapters._base import Misconfigured, Refused, Throttled, Unavailable
from adapters._limits import Quota
from ferryman.policies import policies
from models.ledger import Ledger
from worker.breaker import Parked, Permit
from worker.breakers import Breakers
from worker.quotas import QuotaNotes
from worker.slots import granted

FAIL_MAX = 3
DOWN = Unavailable("down")
POLICY = policies()["stripe"].model_copy(
    update={"breaker_fail_max": FAIL_MAX, "rate_per_second": 0}
)


class Process:
    """What one worker process knows of Stripe."""

    def __init__(self, ledger: Ledger, slots: int = 4, **policy: Any) -> None:
        changed = POLICY.model_copy(update=policy)
        self.breakers = Breakers(ledger, {"stripe": changed}, slots=slots)

    async def admit(self) -> Permit:
        return await self.breakers.admit("stripe")

    async def tell(self, permit: Permit, error: Exception | None = None) -> None:
        await self.breakers["stripe"].record(permit, error)

    async def call(self, error: Exception | None = None) -> None:
        await self.tell(await self.admit(), error)

    async def admitted(self) -> list[Permit]:
        """As many as it may have at once."""
        permits = []
        for _ in range(100):
            try:
                permits.append(await self.admit())
            except Parked:
                break
        return permits

    @property
    def cap(self) -> int:
        return self.breakers.cap("stripe")


class Vendor:
    """The ledger's row, and the processes that share it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def process(self, **options: Any) -> Process:
        return Process(self.ledger, **options)

    async def row(self) -> dict[str, Any]:
        query = "SELECT * FROM ferryman.vendor_states WHERE vendor = 'stripe'"
        async with self.ledger.transaction() as connection:
            return dict((await connection.execute(text(query))).mappings().one())

    async def set(self, what: str) -> None:
        async with self.ledger.transaction() as connection:
            await connection.execute(text(f"UPDATE ferryman.vendor_states SET {what}"))

    async def drain(self) -> None:
        """As after a successful probe."""
        await self.set("breaker = 'open', generation = 7, probe_at = now()")
        await self.process().call()


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.breakers.CACHE_SECONDS", -1)


@pytest.fixture
async def vendor(ledger_url: str) -> AsyncIterator[Vendor]:
    ledger = Ledger(ledger_url, max_wait_seconds=3600)
    made = Vendor(ledger)
    await made.process().breakers.ensure()
    yield made
    await ledger.dispose()


async def test_failures_of_all_processes_open_it_for_all(vendor: Vendor) -> None:
    one, other = vendor.process(), vendor.process()
    for process in (one, other, one):
        await process.call(DOWN)

    for process in (one, other):
        with pytest.raises(Parked, match="unavailable since"):
            await process.admit()


async def test_who_fails_late_learns_at_once_that_it_is_open(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = vendor.process(), vendor.process()
    late = await other.admit()
    for _ in range(FAIL_MAX):
        await one.call(DOWN)
    monkeypatch.setattr("worker.breakers.CACHE_SECONDS", 60)

    await other.tell(late, DOWN)

    with pytest.raises(Parked):
        await other.admit()
    assert (await vendor.row())["failures"] == FAIL_MAX


async def test_a_refusal_between_failures_forgets_none(vendor: Vendor) -> None:
    process = vendor.process()
    for error in (DOWN, DOWN, Refused("no such thing", status=404), DOWN):
        await process.call(error)

    assert (await vendor.row())["breaker"] == "open"


async def test_a_success_between_failures_forgets_them(vendor: Vendor) -> None:
    process = vendor.process()
    for error in (DOWN, DOWN, None, DOWN):
        await process.call(error)

    assert (await vendor.row())["breaker"] == "closed"


async def test_one_probe_a_window_over_all_processes(vendor: Vendor) -> None:
    processes = [vendor.process() for _ in range(6)]
    await vendor.set("breaker = 'open', probe_at = now()")
    found = await asyncio.gather(
        *(process.admit() for process in processes), return_exceptions=True
    )

    assert sum(isinstance(one, Permit) for one in found) == 1


async def test_a_probe_whose_worker_died_is_followed_by_one_other(vendor: Vendor) -> None:
    await vendor.set("breaker = 'open', probe_at = now()")
    lost = await vendor.process().admit()
    assert lost.probe
    with pytest.raises(Parked):
        await vendor.process().admit()

    await vendor.set("probe_until = now()")
    processes = [vendor.process() for _ in range(4)]
    found = await asyncio.gather(
        *(process.admit() for process in processes), return_exceptions=True
    )

    assert sum(isinstance(one, Permit) for one in found) == 1


async def test_after_the_probe_each_process_starts_with_one_call(vendor: Vendor) -> None:
    await vendor.drain()
    one, other = vendor.process(), vendor.process()

    (permit,) = await one.admitted()
    assert len(await other.admitted()) == 1
    assert (one.cap, other.cap) == (1, 1)

    await one.tell(permit)
    assert len(await one.admitted()) == 2
    assert (await vendor.row())["draining"] is True


async def test_the_first_process_at_its_cap_ends_the_drain_for_all(vendor: Vendor) -> None:
    await vendor.drain()
    one, other = vendor.process(slots=4), vendor.process(slots=4)
    for _ in range(3):
        assert (await vendor.row())["draining"] is True
        await one.call()

    assert (await vendor.row())["draining"] is False
    assert len(await one.admitted()) == len(await other.admitted()) == 100


async def test_one_failure_in_the_drain_opens_it_again(vendor: Vendor) -> None:
    await vendor.drain()
    process = vendor.process()
    await process.call()
    await process.call(DOWN)

    row = await vendor.row()
    assert (row["breaker"], row["draining"]) == ("open", False)
    assert row["opened_at"] is not None


async def test_a_permit_that_led_to_no_call_is_given_again(vendor: Vendor) -> None:
    await vendor.drain()
    process = vendor.process()
    (permit,) = await process.admitted()

    await process.breakers["stripe"].release(permit)
    await process.breakers["stripe"].release(permit)

    assert len(await process.admitted()) == 1


async def test_a_job_without_a_slot_is_parked(vendor: Vendor) -> None:
    process = vendor.process()
    token = granted.set(False)
    with pytest.raises(Parked, match="waits for a slot"):
        await process.admit()
    granted.reset(token)


async def test_a_share_of_what_all_workers_may_have_in_flight(vendor: Vendor) -> None:
    process = vendor.process(max_in_flight=5)
    query = (
        "INSERT INTO ferryman.workers (id, name, lease_until)"
        " SELECT ferryman.uuid7(), 'w', now() + interval '1 min' FROM generate_series(1, 2)"
    )
    async with vendor.ledger.transaction() as connection:
        await connection.execute(text(query))
    await process.admit()

    assert process.cap == 2


async def test_a_limit_of_our_own_cools_nobody_down(vendor: Vendor) -> None:
    process = vendor.process()
    await process.call(Throttled("ours", retry_after=9, local=True))
    assert (await vendor.row())["cooldown_until"] is None

    await process.call(Throttled("theirs", retry_after=9))
    assert (await vendor.row())["cooldown_until"] is not None
    with pytest.raises(Parked, match="limits the rate"):
        await vendor.process().admit()


async def test_a_refused_credential_pauses_those_who_hold_it(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "old")
    old = vendor.process()
    monkeypatch.setenv("STRIPE_SECRET_KEY", "new")
    new = vendor.process()
    await old.call(Misconfigured("not accepted"))

    with pytest.raises(Parked, match="paused"):
        await old.admit()
    await new.admit()
    assert (old.breakers.is_paused("stripe"), new.breakers.is_paused("stripe")) == (True, False)


async def test_a_process_without_jobs_hears_of_a_pause_and_of_its_end(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.breakers.WATCH_SECONDS", 0.01)
    process = vendor.process()
    watching = asyncio.create_task(process.breakers.watch())
    for change, paused in (("paused_at = now()", True), ("paused_at = NULL", False)):
        await vendor.set(change)
        async with asyncio.timeout(5):
            while process.breakers.is_paused("stripe") is not paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    watching.cancel()


async def told(process: Process, quota: Quota) -> None:
    permit = await process.admit()
    permit.pace.saw(quota)
    await process.tell(permit)


async def test_a_quota_that_is_used_up_cools_down_until_its_window_ends(vendor: Vendor) -> None:
    process = vendor.process()
    await told(process, Quota(remaining=1, limit=100, reset_seconds=50))
    await process.admit()
    await told(process, Quota(remaining=0, limit=100, reset_seconds=50))

    with pytest.raises(Parked) as parked:
        await vendor.process().admit()

    assert 48 < parked.value.seconds <= 50
    row = await vendor.row()
    assert (row["quota_limit"], row["quota_remaining"]) == (100, 0)


def test_a_quota_is_written_when_scarce_or_in_a_new_window_never_once_a_call() -> None:
    notes = QuotaNotes()
    left = (90, 89, 50, 11, 10, 9, 5, 0)

    written = [n for n in left if notes.worth(Quota(n, limit=100, reset_seconds=60))]

    assert written == [90, 10, 0]
    notes._ends_at = notes._written_at = 0
    assert notes.worth(Quota(99, limit=100, reset_seconds=60))
