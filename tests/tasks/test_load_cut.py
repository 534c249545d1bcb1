"""What one request holds, and what is cut: jobs larger than it, and wholes that are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters._base import NotSent, Request, Response
from tests.adapters.doubles import Answer
from tests.tasks.riders import Station, Vendors, station


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        yield made


def refusing(*names: str, status: int = 400) -> Any:
    """Refuses a request as a whole that has one of these."""

    def answer(request: Request) -> Answer:
        vendors = Vendors()
        vendors.requests.append(request)
        if set(names) & set(vendors.events()[0]):
            return Response(status, {}, b"{}")
        return vendors(request)

    return answer


@pytest.mark.parametrize(("status", "code"), [(400, "refused"), (413, "too_large")])
async def test_a_whole_that_is_refused_is_cut_until_the_bad_one_is_alone(
    at: Station, status: int, code: str
) -> None:
    at.vendors.before = [refusing("bad", status=status)] * 20
    ids = [await at.event("bad" if n == 5 else f"event {n}") for n in range(8)]
    load = await at.ride()

    assert load["result"] | {"bytes": 0} == {"records": 8, "refused": 1, "requests": 7, "bytes": 0}
    expected = ["succeeded"] * 8
    expected[5] = "failed"
    assert await at.statuses(*ids) == expected
    assert (await at.job(ids[5]))["error"]["code"] == code
    assert await at.doubts(load["id"]) == []


async def test_after_a_413_less_is_sent_at_once(at: Station) -> None:
    text = "x" * 50_000
    at.vendors.before = [Response(413, {}, b"{}")]
    for n in range(4):
        await at.event(f"event {n}", properties={"text": text})
    await at.ride()
    assert [len(names) for names in at.vendors.events()] == [4, 2, 2]
    for n in range(4):
        await at.event(f"event {n}", properties={"text": text})
    load = await at.ride()
    assert (load["result"]["records"], load["result"]["requests"]) == (1, 1)


async def test_a_half_that_was_taken_before_the_other_failed_is_in_doubt(at: Station) -> None:
    """Else a person who cancels it would be told that nothing has happened."""
    at.vendors.before = [Response(400, {}, b"{}"), None, NotSent("no connection")]
    ids = [await at.event(f"event {n}") for n in range(2)]
    await at.ride()
    assert await at.statuses(*ids) == ["waiting"] * 2
    assert all([await at.doubts(job_id) for job_id in ids])


async def test_a_request_holds_no_more_than_the_vendor_takes(at: Station) -> None:
    text = "x" * 30_000
    ids = [await at.event("e", vendor="segment", properties={"t": text}) for _ in range(20)]
    load = await at.ride(vendor="segment")

    assert load["result"]["requests"] == 1
    assert load["result"]["records"] == 16
    assert len(b"".join(r.body for r in at.vendors.requests)) < 500_000
    assert await at.statuses(*ids) == ["succeeded"] * 16 + ["waiting"] * 4


async def test_a_load_is_not_cut_for_ever(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left goes in another, and is not told that its attempts are used up."""
    monkeypatch.setattr("tasks._split.MOST_REQUESTS", 3)
    at.vendors.before = [Response(400, {}, b"{}")] * 3
    ids = [await at.event(f"event {n}") for n in range(4)]
    await at.rows("UPDATE ferryman.jobs SET attempts = 4 WHERE kind = 'track_event'")
    load = await at.ride()

    assert load["result"]["requests"] == 3
    assert await at.statuses(*ids) == ["failed", "waiting", "waiting", "waiting"]
    await at.due(*ids[1:])
    await at.ride()
    assert await at.statuses(*ids[1:]) == ["succeeded"] * 3


async def test_a_job_that_is_larger_than_a_request_goes_in_several(at: Station) -> None:
    text = {"text": "x" * 20_000}
    events = [{"user": "u", "event": f"event {n}", "properties": text} for n in range(40)]
    small = await at.event(vendor="segment")
    large = await at.enqueue("track_event", {"events": events}, vendor="segment")
    first, second = await at.ride(vendor="segment"), await at.ride(vendor="segment")

    assert (first["result"]["records"], first["result"]["requests"]) == (1, 1)
    assert (second["result"]["records"], second["result"]["requests"]) == (40, 2)
    assert await at.statuses(small, large) == ["succeeded"] * 2
    assert (await at.job(large))["result"]["events"] == 40


async def test_several_events_of_one_job_fail_by_their_places(at: Station) -> None:
    at.vendors.bad = {"bad"}
    before = await at.event("before")
    events = [{"user": "u", "event": name} for name in ("good", "bad", "good too")]
    job_id = await at.enqueue("track_event", {"events": events})
    await at.ride()

    assert at.vendors.events() == [["before", "good", "bad", "good too"]]
    assert await at.statuses(before, job_id) == ["succeeded", "failed"]
    job = await at.job(job_id)
    assert job["result"] | {"id": "", "vendor": ""} == {
        "id": "",
        "vendor": "",
        "events": 2,
        "refused": 1,
    }
    assert [one["place"] for one in job["error"]["events"]] == [1]


async def test_one_job_of_many_events_is_not_cut_for_ever(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut at the same places each time, so that more attempts would find out no more."""
    monkeypatch.setattr("tasks._split.MOST_REQUESTS", 5)
    at.vendors.before = [refusing("bad")] * 5
    events = [{"user": "u", "event": "bad" if n % 2 else "good"} for n in range(8)]
    job_id = await at.enqueue("track_event", {"events": events})
    await at.rows("UPDATE ferryman.jobs SET attempts = 4 WHERE id = :id", id=job_id)
    await at.ride()

    job = await at.job(job_id)
    assert (job["status"], job["result"]["events"]) == ("failed", 1)
    assert {one["code"] for one in job["error"]["events"]} == {"refused", "vendor_unavailable"}


async def test_an_event_that_nobody_can_read_holds_up_no_other(at: Station) -> None:
    """PostgreSQL keeps numbers and depths that no reader of JSON takes, and its own door checks
    neither."""
    door = "SELECT ferryman.enqueue('track_event', CAST(:args AS jsonb)) AS id"
    given = '{"user": "u", "event": "e", "properties": {"x": %s}}'
    ids = []
    for value in ("1e400", "[" * 2000 + "]" * 2000):
        (row,) = await at.rows(door, args=given % value)
        ids.append(row["id"])
    good = await at.event()
    await at.ride()

    assert await at.statuses(good) == ["succeeded"]
    query = "SELECT error FROM ferryman.jobs WHERE id = ANY(:ids) ORDER BY id"
    bad = [row["error"] for row in await at.rows(query, ids=ids)]
    assert [error.get("field") for error in bad] == ["properties.x", "args"], bad
