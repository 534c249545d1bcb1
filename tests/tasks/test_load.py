"""Loads against a scripted vendor: each of their riders has its own outcome, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from adapters._base import Misconfigured, NotSent, Request, Response, Throttled, Unknown
from models import loads
from tests.adapters.doubles import Answer
from tests.tasks.riders import Station, station
from worker.verdict import LeaseLost


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        yield made


async def test_all_taken_in_one_request(at: Station) -> None:
    ids = [await at.event(f"event {n}") for n in range(5)]
    load = await at.ride()

    assert load["status"] == "succeeded"
    assert load["result"] | {"bytes": 0} == {"records": 5, "refused": 0, "requests": 1, "bytes": 0}
    (sent,) = [at.vendors.sent(request) for request in at.vendors.requests]
    assert [one["properties"]["$insert_id"] for one in sent] == [str(job_id) for job_id in ids]
    for job_id in ids:
        job = await at.job(job_id)
        assert (job["status"], job["load"], job["error"]) == ("succeeded", load["id"], None)
        assert job["result"] == {"id": str(job_id), "vendor": "mixpanel", "status": "accepted"}
    kept = await at.rows("SELECT * FROM ferryman.interactions WHERE job_id = :id", id=load["id"])
    assert [one["status_code"] for one in kept] == [200]


async def test_a_load_of_nobody_calls_nobody(at: Station) -> None:
    load = await at.ride()
    assert (load["status"], load["result"]) == ("succeeded", {"records": 0})
    assert at.vendors.requests == []


async def test_what_is_refused_is_named_and_the_others_are_taken(at: Station) -> None:
    at.vendors.bad = {"bad"}
    good, bad, unfit = await at.event(), await at.event("bad"), await at.event(user="anonymous")
    load = await at.ride()

    assert load["result"]["refused"] == 1
    assert at.vendors.events() == [["Signed in", "bad"]]
    assert await at.statuses(good, bad, unfit) == ["succeeded", "failed", "failed"]
    error = (await at.job(bad))["error"]
    assert (error["code"], error["field"]) == ("invalid_arguments", "properties.price")
    assert (await at.job(unfit))["error"]["field"] == "user"
    assert (await at.job(unfit))["load"] is None


@pytest.mark.parametrize(
    ("answer", "counts", "doubtful", "outcome"),
    [
        (NotSent("no connection"), True, False, "retry"),
        (Response(503, {}, b""), True, True, "retry"),
        (Unknown("the connection was cut"), True, True, "retry"),
        (Response(200, {}, b"who knows"), True, True, "retry"),
        (Response(200, {}, b'{"num_records_imported": 1}'), True, True, "retry"),
        (Response(429, {"retry-after": "7"}, b""), False, False, "throttled"),
        (Throttled("our own limit", local=True, retry_after=1.0), False, None, "throttled"),
        (Misconfigured("no"), False, None, "misconfigured"),
        (Response(401, {}, b""), False, False, "misconfigured"),
    ],
)
async def test_a_load_that_goes_wrong_is_over_and_its_riders_wait_again(
    at: Station, answer: Answer, counts: bool, doubtful: bool | None, outcome: str
) -> None:
    ids = [await at.event() for _ in range(2)]
    at.vendors.before = [answer]
    load = await at.ride()

    assert load["status"] == "cancelled"
    for job_id in ids:
        job = await at.job(job_id)
        assert (job["status"], job["attempts"]) == ("waiting", int(counts))
        assert job["reason"]
        (tried,) = await at.rows("SELECT * FROM ferryman.attempts WHERE job_id = :id", id=job_id)
        assert (tried["outcome"], tried["load"]) == (outcome, load["id"])
        if doubtful is not None:
            doubt = [{"step": "load", "vendor_key": str(job_id), "repeat": "natural"}]
            assert await at.doubts(job_id) == (doubt if doubtful else [])
    assert await at.doubts(load["id"]) == []


async def test_in_doubt_it_is_repeated_as_the_same_records_and_the_doubt_ends(at: Station) -> None:
    ids = [await at.event(f"event {n}") for n in range(3)]
    at.vendors.before = [Unknown("the connection was cut")]
    await at.ride()
    await at.due(*ids)
    new = await at.event("new")
    load = await at.ride()

    first, second = at.vendors.requests
    assert at.vendors.sent(second)[:3] == at.vendors.sent(first)
    assert at.vendors.events()[1] == ["event 0", "event 1", "event 2", "new"]
    assert await at.statuses(*ids, new) == ["succeeded"] * 4
    assert [await at.doubts(job_id) for job_id in ids] == [[]] * 3
    assert (await at.job(ids[0]))["load"] == load["id"]


async def test_used_up_attempts_end_the_rider_and_not_its_load(at: Station) -> None:
    sure, unsure = await at.event(), await at.event()
    await at.rows("UPDATE ferryman.jobs SET attempts = 4 WHERE id = :id", id=sure)
    at.vendors.before = [NotSent("no connection")]
    await at.ride()
    assert await at.statuses(sure, unsure) == ["failed", "waiting"]
    assert (await at.job(sure))["error"]["code"] == "not_sent"

    await at.due(unsure)
    await at.rows("UPDATE ferryman.jobs SET attempts = 4 WHERE id = :id", id=unsure)
    at.vendors.before = [Unknown("the connection was cut")]
    await at.ride()
    assert await at.statuses(unsure) == ["unknown"]


async def test_a_refusal_does_not_tell_of_an_earlier_request_to_a_vendor_that_knows_keys(
    at: Station,
) -> None:
    job_id = await at.event(vendor="segment")
    at.vendors.before = [Unknown("the connection was cut"), Response(400, {}, b"{}")]
    await at.ride(vendor="segment")
    (doubt,) = await at.doubts(job_id)
    assert doubt["repeat"] == "key"
    await at.due(job_id)
    await at.ride(vendor="segment")
    assert await at.statuses(job_id) == ["unknown"]


async def test_who_is_too_late_or_not_wanted_any_more_does_not_go(at: Station) -> None:
    late, doubtful, lost, stopped = [await at.event(vendor="segment") for _ in range(4)]
    at.vendors.before = [Unknown("the connection was cut")]
    await at.ride(vendor="segment")
    await at.due(late, doubtful, lost, stopped)
    await at.rows("UPDATE ferryman.jobs SET expires_at = now() - interval '1 s' WHERE true")
    await at.rows("UPDATE ferryman.jobs SET expires_at = NULL WHERE id = :id", id=lost)
    await at.rows("UPDATE ferryman.sends SET repeat_until = now() WHERE job_id = :id", id=lost)
    await at.rows("UPDATE ferryman.sends SET answered_at = now() WHERE job_id = :id", id=late)
    await at.rows("UPDATE ferryman.sends SET answered_at = now() WHERE job_id = :id", id=stopped)
    await at.rows("UPDATE ferryman.jobs SET cancel_at = now() WHERE id = :id", id=stopped)
    load = await at.ride(vendor="segment")

    assert load["result"] == {"records": 0}
    statuses = await at.statuses(late, doubtful, lost, stopped)
    assert statuses == ["failed", "unknown", "unknown", "cancelled"]
    assert (await at.job(late))["error"]["code"] == "expired"


async def test_the_ledger_goes_away_while_the_answer_is_written_down(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await at.event()

    async def away(*_: Any) -> int:
        raise OperationalError("", {}, Exception(), connection_invalidated=True)

    monkeypatch.setattr("tasks._load.loads.settle", away)
    load = await at.ride()
    monkeypatch.undo()

    assert load["status"] == "cancelled"
    job = await at.job(job_id)
    assert (job["status"], job["attempts"]) == ("waiting", 0)
    assert len(await at.doubts(job_id)) == 1


async def test_a_late_answer_tells_riders_of_another_load_nothing(at: Station) -> None:
    job_id = await at.event()
    execution = await at.claim(await at.load("track_event", "mixpanel"))

    async def lost(connection: Any, load: UUID, *rest: Any) -> int:
        """As if the rescue came while the answer was on its way."""
        await at.rows("UPDATE ferryman.jobs SET fence = fence + 1 WHERE id = :id", id=load)
        return await settle(connection, load, *rest)

    settle = loads.settle
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tasks._load.loads.settle", lost)
        with pytest.raises(LeaseLost):
            await execution.perform()
    assert await at.statuses(job_id) == ["running"]
    kept = await at.rows(
        "SELECT * FROM ferryman.interactions WHERE job_id = :id", id=execution.claimed.id
    )
    assert len(kept) == 1


async def test_a_load_whose_lease_is_lost_sends_nothing(at: Station) -> None:
    job_id = await at.event()
    execution = await at.claim(await at.load("track_event", "mixpanel"))
    await at.rows(
        "UPDATE ferryman.jobs SET fence = fence + 1 WHERE id = :id", id=execution.claimed.id
    )
    with pytest.raises(LeaseLost):
        await execution.perform()
    assert await at.statuses(job_id) == ["waiting"]
    assert at.vendors.requests == []


async def test_a_defect_of_ours_is_one_rider_s_own(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters import _mixpanel

    good, bad = await at.event(), await at.event("defect")
    event = _mixpanel.event

    def broken(one: Any) -> Any:
        if one.event == "defect":
            raise ZeroDivisionError
        return event(one)

    monkeypatch.setattr("adapters.mixpanel.words.event", broken)
    await at.ride()
    assert await at.statuses(good, bad) == ["succeeded", "failed"]
    assert (await at.job(bad))["error"]["code"] == "internal_error"


async def test_a_defect_in_the_request_ends_who_is_alone_with_it(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.loads.APART", 10_000)

    def broken(request: Request) -> Answer:
        raise ZeroDivisionError

    one, two = await at.event("one"), await at.event("two")
    at.vendors.before = [broken] * 2
    await at.ride()
    assert await at.statuses(one, two) == ["waiting", "waiting"]
    await at.ride()
    # Its request may have left.
    assert await at.statuses(one, two) == ["unknown", "waiting"]
    assert (await at.job(one))["error"]["code"] == "internal_error"
    await at.ride()
    assert await at.statuses(two) == ["succeeded"]
