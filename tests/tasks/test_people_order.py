"""What is told of one user reaches the vendor in its order, whatever goes wrong in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from adapters._base import Response
from tests.tasks.riders import Station, station


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        yield made


async def told(at: Station, user: str, plan: str, **options: Any) -> UUID:
    return await at.enqueue("identify_user", {"user": user, "traits": {"plan": plan}}, **options)


def plans(at: Station, place: int = -1) -> list[str]:
    return [one["$set"]["plan"] for one in at.vendors.sent(at.vendors.requests[place])]


async def test_what_goes_again_is_not_overtaken(at: Station) -> None:
    at.vendors.before = [Response(503, {}, b"")]
    first = await told(at, "u", "free")
    await at.ride("identify_user")
    later = [await told(at, "u", plan) for plan in ("pro", "team")]
    other = await told(at, "v", "free")
    await at.ride("identify_user")

    assert plans(at) == ["free"]
    assert await at.statuses(first, *later, other) == ["waiting"] * 3 + ["succeeded"]
    assert (await at.job(later[0]))["reason"].startswith("waits for what was told")
    await at.due(first, *later)
    await at.ride("identify_user")
    assert plans(at) == ["free", "pro", "team"]


async def test_of_one_user_the_older_goes_first_whatever_its_priority(at: Station) -> None:
    ids = [await told(at, "u", "free", priority="low"), await told(at, "u", "pro")]
    await at.ride("identify_user")

    assert plans(at) == ["free", "pro"]
    assert await at.statuses(*ids) == ["succeeded"] * 2
