"""Salesforce: a result for each record, tokens that end, and a day that does."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters import salesforce as module
from adapters._base import Throttled
from adapters._crm import Contact
from adapters._http import HttpCall
from adapters._records import Outcome, Record, Trouble
from adapters._tokens import Tokens
from adapters.salesforce import Adapter
from ferryman.testing import Sandbox
from sandbox.salesforce.fake import CLIENT, LOGIN, SECRET
from sandbox.state import State
from tests.sandbox.records import Asker, calling

FORM = "application/x-www-form-urlencoded"
BASIC = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
BATCH = "/services/data/v62.0/composite/sobjects/Contact/Ferryman_Id__c"
ONE = "/services/data/v62.0/sobjects/Contact/Ferryman_Id__c/"


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    given = {
        "attributes": {"type": "Contact"},
        "Ferryman_Id__c": f"c-{number}",
        "Email": f"ada{number}@example.com",
        "LastName": "Lovelace",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.fixture
def direct(state: State) -> Asker:
    asker = Asker(state.vendors["salesforce"], authorization=BASIC)
    _, told = asker.ask(
        "POST", LOGIN, b"grant_type=client_credentials", content_type=FORM, host="127.0.0.1:8090"
    )
    assert told["instance_url"] == "http://127.0.0.1:8090/salesforce"
    asker.headers["authorization"] = f"{told['token_type']} {told['access_token']}"
    return asker


def batch(direct: Asker, *rows: Any, all_or_none: bool = False) -> tuple[int, Any]:
    return direct.ask("PATCH", BATCH, {"allOrNone": all_or_none, "records": list(rows)})


def codes(results: list[dict[str, Any]]) -> list[str | None]:
    return [one["errors"][0]["statusCode"] if one["errors"] else None for one in results]


def test_each_record_has_a_result(direct: Asker) -> None:
    direct.vendor.dashboard("lock", {"external_id": "c-5"})
    direct.vendor.dashboard("duplicate", {"external_id": "c-6"})
    status, results = batch(
        direct,
        row(0),
        row(1, LastName=None),
        row(2, Email="no address"),
        row(3, Title="x" * 200),
        row(4, Ferryman_Id__c=None),
        row(5),
        row(6),
        row(7),
        row(7, LastName="Byron"),
        row(8, Title=["x"]),
    )

    assert status == 200
    assert codes(results) == [
        None,
        "REQUIRED_FIELD_MISSING",
        "INVALID_EMAIL_ADDRESS",
        "STRING_TOO_LONG",
        "MISSING_ARGUMENT",
        "UNABLE_TO_LOCK_ROW",
        "DUPLICATES_DETECTED",
        "DUPLICATE_VALUE",
        "DUPLICATE_VALUE",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
    ]
    assert direct.totals() == {"contact": 1}
    # The row is free again, and a name is the same in capitals.
    _, results = batch(direct, row(5), row(0, Ferryman_Id__c="C-0", LastName=None, Title="Dr"))
    assert [one.get("created") for one in results] == [True, False]
    assert direct.vendor.dashboard("contact", {"external_id": "c-0"})["fields"]["Title"] == "Dr"


def test_all_or_none(direct: Asker) -> None:
    _, results = batch(direct, row(0), row(1, LastName=None), all_or_none=True)
    assert codes(results) == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert direct.totals() == {}


@pytest.mark.parametrize(
    ("method", "path", "given", "headers", "status", "code"),
    [
        ("PATCH", BATCH, {"records": [row(company="x")]}, {}, 400, "INVALID_FIELD"),
        ("PATCH", BATCH, {"records": [row(attributes={"type": "Lead"})]}, {}, 400, "INVALID_FIELD"),
        ("PATCH", BATCH, {"records": [row(n) for n in range(201)]}, {}, 400, "EXCEEDED_ID_LIMIT"),
        ("PATCH", BATCH, {"records": []}, {}, 400, "EXCEEDED_ID_LIMIT"),
        ("PATCH", BATCH, {"records": ["x"]}, {}, 400, "JSON_PARSER_ERROR"),
        ("PATCH", BATCH, b"{", {}, 400, "JSON_PARSER_ERROR"),
        ("PATCH", BATCH, {}, {"content_type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", BATCH, {"records": [row()]}, {}, 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", BATCH.replace("Ferryman_Id", "Other_Id"), {}, {}, 404, "NOT_FOUND"),
        ("PATCH", BATCH, {}, {"authorization": "Bearer x"}, 401, "INVALID_SESSION_ID"),
        ("PATCH", BATCH, {}, {"authorization": ""}, 401, "INVALID_SESSION_ID"),
    ],
)
def test_refusals(
    direct: Asker,
    method: str,
    path: str,
    given: Any,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    got, told = direct.ask(method, path, given, **headers)
    assert (got, told[0]["errorCode"]) == (status, code)
    assert direct.totals() == {}


@pytest.mark.parametrize(
    ("form", "headers", "error"),
    [
        (b"grant_type=password", {}, "unsupported_grant_type"),
        (b"grant_type=client_credentials", {"authorization": "Basic eDp5"}, "invalid_client"),
        (b"grant_type=client_credentials", {"authorization": ""}, "invalid_client"),
        (b"{}", {"content_type": "application/json"}, "invalid_request"),
    ],
)
def test_no_token(direct: Asker, form: bytes, headers: dict[str, str], error: str) -> None:
    given = {"authorization": BASIC, "content_type": FORM} | headers
    status, told = direct.ask("POST", LOGIN, form, **given)
    assert (status, told["error"]) == (400, error)


def test_one_by_one(direct: Asker) -> None:
    fields = {"LastName": "Lovelace", "Email": "ada@example.com"}
    assert direct.ask("PATCH", f"{ONE}O'Hara", fields)[0] == 201
    assert direct.ask("PATCH", f"{ONE}O%27Hara", {"Title": "Dr"})[0] == 200
    status, told = direct.ask("GET", f"{ONE}O'Hara")
    assert (status, told["Title"], told["LastName"]) == (200, "Dr", "Lovelace")
    assert direct.ask("PATCH", f"{ONE}x", {"Ferryman_Id__c": "x"})[0] == 400
    assert direct.ask("PATCH", f"{ONE}x", {})[0] == 400
    assert direct.ask("GET", f"{ONE}x")[0] == 404


def test_what_is_left_of_the_day(direct: Asker) -> None:
    direct.vendor.dashboard("settings", {"daily": 2})
    answers = [direct.answer("PATCH", BATCH, {"records": [row()]}) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 403]
    assert [one.headers["Sforce-Limit-Info"] for one in answers] == [
        "api-usage=1/2",
        "api-usage=2/2",
        "api-usage=2/2",
    ]
    assert b"REQUEST_LIMIT_EXCEEDED" in answers[2].body


# --- by the adapter, over real connections


@pytest.fixture
async def call(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpCall]:
    monkeypatch.setattr(module, "TOKENS", Tokens())
    async with calling("salesforce", sandbox, monkeypatch) as way:
        yield way


def records(count: int, **fields: Any) -> list[Record]:
    usual = {"first_name": "Ada", "last_name": "Lovelace"}
    return [
        Adapter().contact(Contact(f"r-{n}", f"ada{n}@example.com", usual | fields))
        for n in range(count)
    ]


async def test_two_hundred_at_once(call: HttpCall, sandbox: Sandbox) -> None:
    sandbox.dashboard("salesforce", "lock", external_id="ada7@example.com")

    outcome = await Adapter().upsert(call, records(200))

    busy = Trouble("vendor_unavailable", "the vendor is busy with this contact", again=2.0)
    assert outcome.troubles == {7: busy}
    assert outcome.references.keys() == set(range(200)) - {7}
    assert sandbox.dashboard("salesforce", "count") == {"contacts": 199, "tokens": 1}
    assert sandbox.tally("salesforce", "contact")["repeated"] == 0


async def test_when_all_sessions_end_one_token_is_asked_for(
    call: HttpCall, sandbox: Sandbox
) -> None:
    await Adapter().upsert(call, records(1))
    sandbox.dashboard("salesforce", "expire_tokens")

    outcomes = await asyncio.gather(*(Adapter().upsert(call, records(3)) for _ in range(20)))

    assert all(isinstance(one, Outcome) and not one.troubles for one in outcomes)
    assert sandbox.dashboard("salesforce", "count")["tokens"] == 2


async def test_the_day_s_limit(call: HttpCall, sandbox: Sandbox) -> None:
    sandbox.dashboard("salesforce", "settings", daily=1)
    await Adapter().upsert(call, records(1))
    with pytest.raises(Throttled, match="daily limit") as raised:
        await Adapter().upsert(call, records(1))
    assert raised.value.retry_after == 3600
