"""HubSpot: what is sent, beside the official package, and what its answers mean."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import hubspot
import pytest
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    SimplePublicObjectBatchInputUpsert,
)

from adapters._base import (
    Misconfigured,
    Refused,
    Repeat,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._crm import Contact
from adapters._http import HttpCall
from adapters._limits import DailyLimit, next_day, quota
from adapters._records import Outcome, Record, RefusedRecord, Trouble, Whole
from adapters.hubspot import PATH, Adapter
from ferryman.policies import policies, policy
from tests.adapters import doubles
from tests.adapters.catcher import catcher, ours
from tests.adapters.test_hubspot_webhooks import WEBHOOKS  # noqa: F401 - for the contract suite
from tests.contract.operations import ADDRESS, TEXT, Operation

ID = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"
# Joined, so that no key-shaped string stands in the tree.
KEY = "-".join(("pat", "eu1", "planted"))
FIELDS = {"first_name": "Ada", "last_name": "Lovelace", "title": "Analyst", "company": "Acme"}
ENVIRONMENT = {"FERRYMAN_PUBLIC_URL": "https://jobs.example.com"}


def contact(**changes: Any) -> Contact:
    return Contact(**({"id": ID, "email": "ada@example.com", "fields": FIELDS} | changes))


def records(count: int) -> list[Record]:
    return [
        Adapter().contact(contact(id=f"c-{n}", email=f"Ada{n}@example.com")) for n in range(count)
    ]


async def _contact(call: HttpCall) -> object:
    fields = {"first_name": TEXT, "lifecyclestage": TEXT}
    return await Adapter().upsert(call, [Adapter().contact(contact(email=ADDRESS, fields=fields))])


OPERATIONS = [Operation("contact", _contact, Repeat.NATURAL)]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", KEY)
    monkeypatch.delenv("HUBSPOT_BASE_URL", raising=False)


@pytest.fixture
def by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contacts have a unique property of the application's own."""
    changed = policy("hubspot").model_copy(update={"id_field": "customer_number"})
    monkeypatch.setitem(policies(), "hubspot", changed)


def result(number: int, **more: Any) -> dict[str, Any]:
    properties = {"email": f"ada{number}@example.com"}
    made = {"id": str(500 + number), "properties": properties, "new": True}
    return made | {"objectWriteTraceId": f"c-{number}"} | more


def error(*numbers: int, message: str = "no", **more: Any) -> dict[str, Any]:
    context = {"objectWriteTraceId": [f"c-{number}" for number in numbers]}
    made = {"status": "error", "category": "VALIDATION_ERROR", "message": message}
    return made | {"context": context} | more


def told(results: Sequence[Any], errors: Sequence[Any] = (), status: int = 0) -> Response:
    document: dict[str, Any] = {"status": "COMPLETE", "results": list(results)}
    if errors:
        document |= {"numErrors": len(errors), "errors": list(errors)}
    return said(document, status or (207 if errors else 200))


def said(document: Any, status: int, **headers: str) -> Response:
    return Response(status, headers, json.dumps(document).encode())


async def upsert(
    answer: doubles.Answer, found: Sequence[Record]
) -> tuple[Outcome | VendorError, doubles.Notes]:
    call, _, notes = doubles.call("hubspot", answer)
    try:
        return await Adapter().upsert(call, found), notes
    except VendorError as raised:
        return raised, notes


# --- what is sent


async def test_an_upsert_beside_the_official_package() -> None:
    call, vendor, notes = doubles.call("hubspot", told([result(0), result(1)]))
    fields = {**FIELDS, "lifecyclestage": "lead", "phone": None}
    found = [
        Adapter().contact(contact(id=f"c-{n}", email=f"ada{n}@example.com", fields=fields))
        for n in range(2)
    ]
    await Adapter().upsert(call, found)
    ((request, credentials),) = vendor.requests
    mine = ours(request)

    properties = {
        "firstname": "Ada",
        "lastname": "Lovelace",
        "jobtitle": "Analyst",
        "company": "Acme",
        "lifecyclestage": "lead",
        "phone": "",
    }
    inputs = [
        SimplePublicObjectBatchInputUpsert(
            id=f"ada{n}@example.com",
            id_property="email",
            object_write_trace_id=f"c-{n}",
            properties={"email": f"ada{n}@example.com", **properties},
        )
        for n in range(2)
    ]
    with catcher({"status": "COMPLETE", "results": []}) as official:
        sdk = hubspot.HubSpot(access_token=KEY, host=official.url)
        sdk.crm.contacts.batch_api.upsert(
            batch_input_simple_public_object_batch_input_upsert=(
                BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs)
            )
        )
    theirs = official.last()

    assert request.url == f"https://api.hubapi.com{PATH}"
    assert (mine.method, mine.path, mine.query) == (theirs.method, theirs.path, theirs.query)
    assert mine.json() == theirs.json()
    assert credentials == {"Authorization": theirs.headers["authorization"]}
    assert mine.headers["content-type"] == theirs.headers["content-type"]
    ((step, key, repeat, marked),) = notes.left
    assert (step, key, repeat) == ("load", f"{doubles.JOB}:load", Repeat.NATURAL)
    assert marked.opaque


def test_every_value_is_a_text() -> None:
    fields = {
        "first_name": "Zoë",
        "title": 5,
        "state": True,
        "city": False,
        "phone": None,
        "zip": 1.5,
    }
    sent = json.loads(Adapter().contact(contact(fields=fields)).body)["properties"]
    assert sent == {
        "email": "ada@example.com",
        "firstname": "Zoë",
        "jobtitle": "5",
        "state": "true",
        "city": "false",
        "phone": "",
        "zip": "1.5",
    }


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"fields": {"firstnam": "x"}}, "fields.firstnam", "is not known"),
        ({"fields": {"first_nam": "x"}}, "fields.first_nam", "did you mean `first_name`?"),
        ({"fields": {"email": "x"}}, "fields.email", "of its own"),
        ({"fields": {"title": "a", "jobtitle": "b"}}, "fields.jobtitle", "is given twice"),
        ({"fields": {"title": [1]}}, "fields.title", "must be text"),
        ({"fields": {"title": "x" * 70_000}}, "fields.title", "at most"),
        ({"external_id": "42"}, "external_id", "id_field"),
    ],
)
def test_what_it_has_no_place_for(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(RefusedRecord, match=words) as raised:
        Adapter().contact(contact(**changes))
    assert raised.value.as_error()["field"] == field


@pytest.mark.usefixtures("by_number")
def test_a_contact_by_its_external_id() -> None:
    record = Adapter().contact(contact(external_id="No-42", fields={}))

    assert json.loads(record.body) == {
        "id": "No-42",
        "idProperty": "customer_number",
        "properties": {"email": "ada@example.com", "customer_number": "No-42"},
        "objectWriteTraceId": ID,
    }
    assert record.name == "no-42"
    with pytest.raises(RefusedRecord):
        Adapter().contact(contact(fields={"customer_number": "x"}))


# --- what its answers mean


async def test_all_are_saved() -> None:
    without_trace = result(1)
    del without_trace["objectWriteTraceId"]
    outcome, notes = await upsert(told([without_trace, result(0)]), records(2))

    assert outcome == Outcome({}, {0: "500", 1: "501"})
    assert notes.answers == ["load"]


async def test_a_207_is_read_record_by_record() -> None:
    invalid = (
        'Property values were not valid: [{\\"isValid\\":false,\\"message\\":\\"x@y is invalid\\",'
        '\\"error\\":\\"INVALID_EMAIL\\",\\"name\\":\\"email\\"}]'
    )
    errors = [
        error(0, message=invalid),
        error(
            2,
            errors=[
                {
                    "message": 'Property "jobtitl" does not exist',
                    "code": "PROPERTY_DOESNT_EXIST",
                    "context": {"propertyName": ["jobtitle"]},
                }
            ],
        ),
        error(3, category="CONFLICT"),
        error(4, 5, category="RATE_LIMITS"),
        error(category="OBJECT_NOT_FOUND", context={"ids": ["ada6@example.com"]}),
    ]
    outcome, notes = await upsert(told([result(1)], errors), records(7))

    busy = Trouble("vendor_unavailable", "the vendor could not do it now", again=10.0)
    assert outcome == Outcome(
        {
            0: Trouble(
                "invalid_recipient", "email: the vendor does not take it for an address", "email"
            ),
            2: Trouble(
                "invalid_arguments",
                "fields.title: the vendor has no such property",
                "fields.title",
            ),
            3: Trouble("duplicate", "another contact has the same"),
            4: busy,
            5: busy,
            6: Trouble("not_found", "the vendor knows no such contact"),
        },
        {1: "501"},
    )
    assert notes.answers == ["load"]


async def test_an_answer_that_was_compressed_unasked() -> None:
    plain = told([result(0), result(1, id=501)])
    packed = Response(200, {"content-encoding": "gzip"}, gzip.compress(plain.body))
    outcome, _ = await upsert(packed, records(2))
    assert outcome == Outcome({}, {0: "500", 1: "501"})

    half = Response(200, {"content-encoding": "gzip"}, packed.body[:20])
    none = Response(200, {"content-encoding": "gzip"}, plain.body)
    for bad in (half, none):
        assert isinstance((await upsert(bad, records(2)))[0], Unknown)


async def test_what_stands_among_both_was_not_saved() -> None:
    outcome, _ = await upsert(told([result(0), result(1)], [error(1)]), records(2))

    assert isinstance(outcome, Outcome)
    assert (set(outcome.troubles), outcome.references) == ({1}, {0: "500"})


@pytest.mark.parametrize(
    "answer",
    [
        told([result(0)]),
        told([result(0), result(0)]),
        told([result(0), result(7, properties={"email": "x"})]),
        told([result(0), {"id": "5"}]),
        told([result(0), result(1, id="5\0")]),
        told([result(0), result(1, id=None)]),
        told([result(0), result(1, id=True)]),
        told([result(0)], [error()]),
        told([result(0)], [error(category="X", context={})]),
        told([result(0)], ["no"]),
        said([], 200),
        said({}, 200),
        Response(200, {}, b"<html>"),
        Response(204, {}, b""),
        Response(302, {}, b""),
        Unknown("the vendor did not answer in time", code="timeout"),
    ],
)
async def test_an_answer_that_does_not_tell_of_each(answer: doubles.Answer) -> None:
    raised, notes = await upsert(answer, records(2))

    assert isinstance(raised, Unknown)
    assert notes.answers == notes.without_effect == []


@pytest.mark.parametrize(
    ("answer", "kind", "code", "words"),
    [
        (
            said(
                {
                    "category": "VALIDATION_ERROR",
                    "message": 'Property values were not valid: [{"name":"jobtitle"}] ada@x.io',
                },
                400,
            ),
            Whole,
            "invalid_arguments",
            "fields.title",
        ),
        (said({"category": "CONFLICT", "message": "ada@x.io"}, 409), Whole, "duplicate", "same"),
        (said([], 400), Whole, "refused", "refused the request"),
        (Response(400, {}, b"no JSON"), Whole, "refused", "refused the request"),
        (Response(413, {}, b""), Whole, "too_large", "larger"),
        (Response(423, {}, b""), Unavailable, "vendor_unavailable", "busy"),
        (Response(477, {}, b""), Unavailable, "vendor_unavailable", "busy"),
        (said({"category": "MISSING_SCOPES"}, 403), Misconfigured, "misconfigured", "credentials"),
        (Response(401, {}, b""), Misconfigured, "misconfigured", "credentials"),
        (Response(502, {}, b""), Unavailable, "vendor_unavailable", "502"),
        (
            said({"policyName": "TEN_SECONDLY_ROLLING"}, 429, **{"retry-after": "4"}),
            Throttled,
            "rate_limited",
            "rate limit",
        ),
        (said({"policyName": "DAILY"}, 429), DailyLimit, "daily_limit", "daily limit"),
        (Response(429, {}, b"<html>"), Throttled, "rate_limited", "rate limit"),
    ],
)
async def test_refusals_of_the_whole(
    answer: Response, kind: type[VendorError], code: str, words: str
) -> None:
    raised, notes = await upsert(answer, records(2))

    assert type(raised) is kind
    assert (raised.code, words in raised.message) == (code, True)
    assert "ada@" not in json.dumps(raised.as_error())
    assert notes.answers == (["load"] if isinstance(raised, Refused) else [])


async def test_a_day_s_limit_waits_for_midnight() -> None:
    raised, _ = await upsert(said({"policyName": "DAILY"}, 429), records(1))

    assert isinstance(raised, Throttled)
    assert raised.message.endswith("until 00:00 UTC")
    left = (next_day("00:00+00:00", datetime.now(UTC)) - datetime.now(UTC)).total_seconds()
    assert raised.retry_after == pytest.approx(left, abs=2)


@pytest.mark.parametrize(
    ("day_ends", "now", "ends"),
    [
        ("00:00+00:00", "2026-11-28T18:00:00+00:00", "2026-11-29T00:00:00+00:00"),
        ("00:00+01:00", "2026-11-28T22:30:00+00:00", "2026-11-28T23:00:00+00:00"),
        ("00:00+01:00", "2026-11-28T23:30:00+00:00", "2026-11-29T23:00:00+00:00"),
        ("00:00-05:00", "2026-11-28T04:00:00+00:00", "2026-11-28T05:00:00+00:00"),
        ("00:00-05:00", "2026-12-31T05:00:00+00:00", "2027-01-01T05:00:00+00:00"),
    ],
)
def test_when_the_day_ends(day_ends: str, now: str, ends: str) -> None:
    found = next_day(day_ends, datetime.fromisoformat(now))
    assert found.isoformat() == ends


def test_what_is_left_of_the_day_or_of_ten_seconds() -> None:
    short = {"x-hubspot-ratelimit-max": "190", "x-hubspot-ratelimit-remaining": "187"}
    day = {
        "x-hubspot-ratelimit-daily": "650000",
        "x-hubspot-ratelimit-daily-remaining": "649999",
    }
    for headers, left in ((short, (187, 190)), (short | day, (649_999, 650_000)), ({}, None)):
        found = quota(Response(200, headers, b""))
        assert (found and (found.remaining, found.limit)) == left
