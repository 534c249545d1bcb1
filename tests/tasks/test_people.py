"""Events, people and contacts as jobs: what never changes in a repeat, and each record's end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from adapters._base import NotSent, Unknown
from tasks._people import record_id
from tests.tasks.riders import Station, Vendors, station

JOB = UUID("019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901")


@pytest.fixture
async def driver(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        yield made


@pytest.fixture
def vendors(driver: Station) -> Vendors:
    return driver.vendors


async def ride(driver: Station, job_id: UUID) -> dict[str, Any]:
    """One load with this job in it; the job as it is afterwards."""
    job = await driver.job(job_id)
    await driver.due(job_id)
    await driver.ride(job["kind"], job["vendor"])
    return await driver.job(job_id)


async def test_an_event_is_the_job_s_own_in_each_attempt(driver: Station, vendors: Vendors) -> None:
    args = {"user": "user-42", "event": "Order placed", "properties": {"plan": "pro"}}
    job_id = await driver.enqueue("track_event", args)
    vendors.before = [NotSent("no connection"), Unknown("the connection was cut")]
    jobs = [await ride(driver, job_id) for _ in range(3)]

    assert [job["status"] for job in jobs] == ["waiting", "waiting", "succeeded"]
    assert jobs[-1]["vendor"] == "mixpanel"
    assert jobs[-1]["result"] == {"id": str(job_id), "vendor": "mixpanel", "status": "accepted"}
    assert len({request.body for request in vendors.requests}) == 1
    (sent,) = vendors.sent()
    assert sent["properties"] == {
        "plan": "pro",
        "distinct_id": "user-42",
        "$insert_id": str(job_id),
        "time": round(jobs[-1]["created_at"].timestamp() * 1000),
    }


async def test_its_time_is_the_one_that_is_given(driver: Station, vendors: Vendors) -> None:
    args = {"user": "u", "event": "x", "at": "2026-11-28T11:00:00+01:00"}
    job = await ride(driver, await driver.enqueue("track_event", args))
    assert job["status"] == "succeeded"
    at = datetime(2026, 11, 28, 10, tzinfo=UTC)
    assert vendors.sent()[0]["properties"]["time"] == at.timestamp() * 1000


async def test_many_events_in_one_job(driver: Station, vendors: Vendors) -> None:
    events = [{"user": f"user-{n}", "event": "Signed in"} for n in range(3)]
    job = await ride(driver, await driver.enqueue("track_event", {"events": events}))

    assert job["status"] == "succeeded"
    assert job["result"]["events"] == 3
    ids = [one["properties"]["$insert_id"] for one in vendors.sent()]
    assert ids == [f"{job['id'].hex}-{n}" for n in range(3)]


async def test_of_many_the_bad_ones_are_named_and_the_others_taken(
    driver: Station, vendors: Vendors
) -> None:
    events = [
        {"user": "u", "event": "good"},
        {"user": "anonymous", "event": "no user"},
        {"user": "u", "event": "bad at the vendor"},
        {"user": "u", "event": "reserved", "properties": {"$insert_id": "x"}},
        {"user": "u", "event": "good too"},
    ]
    vendors.bad = {"bad at the vendor"}
    job = await ride(driver, await driver.enqueue("track_event", {"events": events}))

    assert job["status"] == "failed"
    assert [one["event"] for one in vendors.sent()] == ["good", "bad at the vendor", "good too"]
    error = job["error"]
    assert (error["code"], error["taken"]) == ("events_refused", 2)
    assert [(one["place"], one["field"]) for one in error["events"]] == [
        (1, "user"),
        (2, "properties.price"),
        (3, "properties.$insert_id"),
    ]


@pytest.mark.parametrize(
    ("kind", "args", "vendor", "field"),
    [
        ("track_event", {"user": "null", "event": "x"}, None, "user"),
        ("track_event", {"user": "u", "event": "x", "properties": {"time": 1}}, None, None),
        ("track_event", {"user": "u", "event": "x" * 33_000}, "segment", "event"),
        ("track_event", {"event": "x"}, None, "user"),
        ("track_event", {"user": "u"}, None, "event"),
        ("track_event", {"user": "u", "event": "x", "at": "today"}, None, "at"),
        ("track_event", {"user": "u", "events": [{"user": "u", "event": "x"}]}, None, "user"),
        ("track_event", {"events": [{"user": "u"}]}, None, "events.0.event"),
        ("identify_user", {"user": "u", "traits": {}}, None, "traits"),
        ("identify_user", {"user": "u", "traits": {"$token": "x"}}, None, "traits.$token"),
        ("upsert_contact", {"email": "no address"}, None, "email"),
        ("upsert_contact", {"email": "a@example.com", "fields": {"shoe": 1}}, None, "fields.shoe"),
        ("upsert_contact", {"email": "a@example.com", "external_id": "7"}, None, "external_id"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_leaves(
    driver: Station,
    vendors: Vendors,
    kind: str,
    args: dict[str, Any],
    vendor: str | None,
    field: str | None,
) -> None:
    job = await ride(driver, await driver.enqueue(kind, args, vendor=vendor))

    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_arguments"
    if field:
        assert job["error"]["field"] == field
    assert vendors.requests == []


async def test_an_event_that_the_vendor_refuses(driver: Station, vendors: Vendors) -> None:
    vendors.bad = {"bad"}
    job = await ride(driver, await driver.enqueue("track_event", {"user": "u", "event": "bad"}))

    assert job["status"] == "failed"
    assert job["error"] == {
        "code": "invalid_arguments",
        "message": "properties.price: the vendor does not take it",
        "type": "Refused",
        "field": "properties.price",
    }


async def test_a_person(driver: Station, vendors: Vendors) -> None:
    args = {"user": "user-42", "traits": {"plan": "pro"}, "at": "2026-11-28T10:00:00Z"}
    job = await ride(driver, await driver.enqueue("identify_user", args, vendor="segment"))

    assert job["status"] == "succeeded", job["error"]
    (sent,) = vendors.sent()["batch"]
    assert (sent["messageId"], sent["traits"]) == (str(job["id"]), {"plan": "pro"})
    assert sent["timestamp"] == "2026-11-28T10:00:00.000+00:00"


async def test_a_contact(driver: Station, vendors: Vendors) -> None:
    args = {"email": "Ada@EXAMPLE.com", "fields": {"first_name": "Ada", "phone": None}}
    job = await ride(driver, await driver.enqueue("upsert_contact", args))

    assert job["status"] == "succeeded", job["error"]
    assert job["result"] == {
        "id": str(job["id"]),
        "vendor": "hubspot",
        "status": "saved",
        "vendor_reference": "500",
    }
    (sent,) = vendors.sent()["inputs"]
    assert sent["properties"] == {"email": "Ada@example.com", "firstname": "Ada", "phone": ""}


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (None, "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"),
        (0, "019ab3f06d7e7c2a9f430d5be2a1c901-0"),
        (35, "019ab3f06d7e7c2a9f430d5be2a1c901-z"),
        (36, "019ab3f06d7e7c2a9f430d5be2a1c901-10"),
        (1999, "019ab3f06d7e7c2a9f430d5be2a1c901-1jj"),
    ],
)
def test_an_id_has_36_characters_at_most(place: int | None, named: str) -> None:
    assert record_id(JOB, place) == named
    assert len(named) <= 36
