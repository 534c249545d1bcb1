"""The limit of a day: everybody waits for its end, people see why, and the vendor is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from adapters._base import Throttled
from adapters._limits import DailyLimit, Quota, next_day
from ferryman.policies import policies
from models import days, jobs, scorecard
from models.ledger import Ledger
from tests.api.conftest import empty
from worker.breaker import Parked
from worker.breakers import Breakers

DAY = DailyLimit("the day is over", retry_after=7200)


class Crm:
    """One process that calls a CRM, and what the ledger says of that."""

    def __init__(self, ledger: Ledger, vendor: str = "hubspot") -> None:
        policy = policies()[vendor].model_copy(update={"rate_per_second": 0})
        self.ledger, self.vendor = ledger, vendor
        self.breakers = Breakers(ledger, {vendor: policy}, slots=4)

    async def tell(self, error: Exception | None = None, quota: Quota | None = None) -> None:
        permit = await self.breakers.admit(self.vendor)
        if quota:
            permit.pace.saw(quota)
        await self.breakers[self.vendor].record(permit, error)

    async def card(self) -> dict[str, Any]:
        async with self.ledger.transaction() as connection:
            found = (await scorecard.read(connection, [self.vendor]))[self.vendor]
        state: dict[str, Any] = found["state"]
        return state

    async def waiting(self) -> str:
        """Why a job of this vendor waits."""
        job_id = uuid7()
        query = (
            "INSERT INTO ferryman.jobs (id, kind, vendor, args)"
            " VALUES (:id, 'upsert_contact', :vendor, '{}')"
        )
        async with self.ledger.transaction() as connection:
            await connection.execute(text(query), {"id": job_id, "vendor": self.vendor})
            found = await jobs.job(connection, job_id)
        assert found is not None
        return str(found["reason"])


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.breakers.CACHE_SECONDS", -1)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    empty(database_url)
    made = Ledger(database_url, max_wait_seconds=3600)
    for vendor in ("hubspot", "salesforce"):
        await Crm(made, vendor).breakers.ensure()
    yield made
    await made.dispose()
    empty(database_url)


async def test_all_wait_until_the_day_ends_and_are_told_so(ledger: Ledger) -> None:
    await Crm(ledger).tell(DAY)

    with pytest.raises(Parked, match=r"hubspot's daily limit is reached, until \d\d:\d\d UTC") as e:
        await Crm(ledger).tell()
    # Longer than any Retry-After is believed by default.
    assert 7190 < e.value.seconds <= 7200
    assert await Crm(ledger).waiting() == e.value.reason
    card = await Crm(ledger).card()
    assert card["daily_remaining"] == 0
    assert 7190 < (card["daily_resets_at"] - datetime.now(UTC)).total_seconds() < 7202


async def test_a_limit_of_a_second_is_not_one_of_the_day(ledger: Ledger) -> None:
    await Crm(ledger).tell(Throttled("slower", retry_after=9))

    with pytest.raises(Parked, match="limits the rate"):
        await Crm(ledger).tell()
    assert "limits the rate" in await Crm(ledger).waiting()


async def test_the_day_s_end_lets_all_go_on(ledger: Ledger) -> None:
    await Crm(ledger).tell(DAY)
    over = "UPDATE ferryman.vendor_states SET cooldown_until = now(), daily_reset_at = now()"
    async with ledger.transaction() as connection:
        await connection.execute(text(over))

    await Crm(ledger).tell()

    assert await Crm(ledger).waiting() == "waits for its turn"
    assert (await Crm(ledger).card())["daily_remaining"] is None


async def test_who_has_bought_more_goes_on_at_once(ledger: Ledger) -> None:
    await Crm(ledger).tell(DAY)
    async with ledger.transaction() as connection:
        await days.over(connection, "hubspot")

    await Crm(ledger).tell()
    assert await Crm(ledger).waiting() == "waits for its turn"


async def test_only_the_day_is_over_by_that(ledger: Ledger) -> None:
    await Crm(ledger).tell(Throttled("slower", retry_after=9))
    async with ledger.transaction() as connection:
        await days.over(connection, "hubspot")

    assert "limits the rate" in await Crm(ledger).waiting()


async def test_what_is_left_of_the_day_is_kept_apart_from_the_window(ledger: Ledger) -> None:
    await Crm(ledger).tell(quota=Quota(640_000, 650_000, None, daily=True))
    await Crm(ledger).tell(quota=Quota(9, 190, 8.0))

    card = await Crm(ledger).card()
    assert (card["daily_limit"], card["daily_remaining"]) == (650_000, 640_000)
    assert (card["quota_limit"], card["quota_remaining"]) == (190, 9)
    midnight = next_day("00:00+00:00", datetime.now(UTC))
    assert abs((card["daily_resets_at"] - midnight).total_seconds()) < 2


async def test_the_last_request_of_the_day_parks_the_next_one(ledger: Ledger) -> None:
    await Crm(ledger).tell(quota=Quota(0, 650_000, None, daily=True))

    with pytest.raises(Parked, match="daily limit is reached, until 00:00 UTC"):
        await Crm(ledger).tell()


async def test_where_the_day_has_no_end_the_vendor_itself_must_refuse(ledger: Ledger) -> None:
    """Salesforce counts the last 24 hours, and lets one go over that for a while."""
    await Crm(ledger, "salesforce").tell(quota=Quota(0, 15_000, None, daily=True))
    await Crm(ledger, "salesforce").tell()
    card = await Crm(ledger, "salesforce").card()
    assert (card["daily_limit"], card["daily_remaining"], card["daily_resets_at"]) == (
        15_000,
        0,
        None,
    )

    await Crm(ledger, "salesforce").tell(DAY)
    with pytest.raises(Parked, match="salesforce's daily limit is reached"):
        await Crm(ledger, "salesforce").tell()


async def test_a_late_answer_does_not_hide_that_the_limit_is_reached(ledger: Ledger) -> None:
    process = Crm(ledger)
    early = await process.breakers.admit("hubspot")
    await Crm(ledger).tell(DAY)
    early.pace.saw(Quota(3, 650_000, None, daily=True))
    await process.breakers["hubspot"].record(early, None)

    assert "daily limit is reached" in await Crm(ledger).waiting()
