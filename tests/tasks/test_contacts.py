"""Contacts: one job at a time changes one, in their order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters._base import NotSent, Request, Response, Unknown
from tasks import _batch
from tests.tasks.crm import contact, imported, ride, save, sent
from tests.tasks.riders import Station, Vendors, station

Row = dict[str, Any]


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        await made.rows("DELETE FROM ferryman.contacts")
        yield made


async def test_a_contact_is_kept_as_the_vendor_has_taken_it(at: Station) -> None:
    job_id = await save(at, "Ada@Example.com", first_name="Ada", phone="1")
    load = await ride(at)

    assert (load["status"], load["result"]["records"]) == ("succeeded", 1)
    assert (await at.job(job_id))["result"] == {
        "id": str(job_id),
        "vendor": "hubspot",
        "status": "saved",
        "vendor_reference": "500",
    }
    row = await contact(at)
    assert (row["status"], row["vendor_reference"], row["job_id"]) == ("active", "500", job_id)
    assert row["fields"] == {"first_name": "Ada", "phone": "1"}
    await save(at, phone=None, title="Countess")
    await ride(at)
    assert (await contact(at))["fields"] == {"first_name": "Ada", "title": "Countess"}


async def test_one_contact_s_jobs_go_one_after_the_other_in_their_order(at: Station) -> None:
    ids = [await save(at, title=str(n)) for n in range(3)]
    other = await save(at, "bob@example.com", title="other")
    for _ in range(3):
        await ride(at)

    titles = [[one["jobtitle"] for one in inputs] for inputs in sent(at)]
    assert titles == [["0", "other"], ["1"], ["2"]]
    assert await at.statuses(*ids, other) == ["succeeded"] * 4
    assert (await contact(at))["fields"] == {"title": "2"}


@pytest.mark.parametrize("cause", [NotSent("no connection"), Unknown("cut")])
async def test_the_later_one_does_not_overtake_one_that_goes_again(
    at: Station, cause: NotSent | Unknown
) -> None:
    first = await save(at, title="first")
    at.vendors.before = [cause]
    await ride(at)
    second, other = await save(at, title="second"), await save(at, "bob@example.com")
    await ride(at)

    assert await at.statuses(first, second, other) == ["waiting", "waiting", "succeeded"]
    late, later = await at.job(first), await at.job(second)
    assert later["run_at"] > late["run_at"]
    assert later["reason"] == "waits for an earlier change of the same contact"
    await at.due(second)
    await at.due(first)
    await ride(at)
    await ride(at)
    assert [one[0].get("jobtitle") for one in sent(at)] == ["first", None, "first", "second"]


async def test_one_that_is_refused_or_cancelled_lets_the_next_one_go(at: Station) -> None:
    at.vendors.bad = {"ada@example.com"}
    first, second = await save(at), await save(at)
    await ride(at)
    at.vendors.bad = set()
    await ride(at)
    assert await at.statuses(first, second) == ["failed", "succeeded"]
    error = (await at.job(first))["error"]
    assert (error["code"], error["field"]) == ("invalid_recipient", "email")


def locked(request: Request) -> Response:
    """One contact that others write now, and one that is taken."""
    first, second = (one["objectWriteTraceId"] for one in Vendors().sent(request)["inputs"])
    error = {"category": "LOCKED", "context": {"objectWriteTraceId": [first]}}
    result = {"id": "7", "properties": {}, "objectWriteTraceId": second}
    return Response(207, {}, json.dumps({"results": [result], "errors": [error]}).encode())


@pytest.mark.parametrize(("attempts", "status"), [(0, "waiting"), (4, "failed")])
async def test_a_contact_that_the_vendor_is_busy_with_goes_again_by_itself(
    at: Station, attempts: int, status: str
) -> None:
    busy, other = await save(at), await save(at, "bob@example.com")
    await at.rows("UPDATE ferryman.jobs SET attempts = :n WHERE id = :id", n=attempts, id=busy)
    at.vendors.before = [locked]
    load = await ride(at)

    assert load["status"] == "succeeded"
    assert await at.statuses(busy, other) == [status, "succeeded"]
    job = await at.job(busy)
    if status == "waiting":
        assert 9 < (job["run_at"] - load["finished_at"]).total_seconds() < 16
        assert job["reason"] == "retries: the vendor could not do it now"
        assert await at.doubts(busy) == []
    else:
        assert job["error"]["code"] == "vendor_unavailable"


async def test_one_of_a_paused_batch_holds_up_no_other(at: Station) -> None:
    batch = await imported(at, [{"email": "ada@example.com", "fields": {"title": "listed"}}])
    await at.run(batch)
    at.vendors.before = [NotSent("no connection")]
    await ride(at)
    async with at.ledger.transaction() as connection:
        await _batch.pause(connection, batch, who="test")
    now = await save(at, title="now")
    await ride(at)
    assert await at.statuses(now) == ["succeeded"]


async def test_that_a_vendor_is_busy_tells_nothing_of_the_request_before(at: Station) -> None:
    """It may have had its effect, so the job must not be told to have failed."""
    busy = {"category": "LOCKED", "message": "locked"}

    def locked(request: Request) -> Response:
        (one,) = at.vendors.sent(request)["inputs"]
        error = {**busy, "context": {"objectWriteTraceId": [one["objectWriteTraceId"]]}}
        return Response(207, {}, json.dumps({"results": [], "errors": [error]}).encode())

    job_id = await save(at, title="1")
    at.vendors.before = [Unknown("cut"), locked]
    await ride(at)
    await at.due(job_id)
    await at.rows("UPDATE ferryman.jobs SET attempts = 4 WHERE id = :id", id=job_id)
    await ride(at)

    assert await at.statuses(job_id) == ["unknown"]
    assert len(await at.doubts(job_id)) > 0
