"""Salesforce: what is sent, beside the official package, and what its answers mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from simple_salesforce import Salesforce
from simple_salesforce.login import SalesforceLogin

from adapters import salesforce as module
from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._crm import Contact
from adapters._http import HttpCall
from adapters._limits import DailyLimit, quota
from adapters._records import Outcome, Record, RefusedRecord, Trouble, Whole
from adapters._tokens import Tokens
from adapters.salesforce import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.catcher import Catcher, catcher, ours
from tests.contract.operations import ADDRESS, TEXT, Operation
from tests.faulty import answer as raw

ID = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"
CLIENT, SECRET = "planted-client", "planted-client-secret"
HOME = "https://acme.my.salesforce.com"
PATH = "/services/data/v62.0/composite/sobjects/Contact/Ferryman_Id__c"
GET_TOKEN = "POST /services/oauth2/token"
# Joined, so that no key-shaped string stands in the tree.
TOKEN = "00D" + "planted!token"
FIELDS = {"first_name": "Ada", "last_name": "Lovelace", "title": "Analyst"}


def contact(**changes: Any) -> Contact:
    return Contact(**({"id": ID, "email": "ada@example.com", "fields": FIELDS} | changes))


def records(count: int) -> list[Record]:
    return [
        Adapter().contact(contact(id=f"c-{n}", email=f"ada{n}@example.com")) for n in range(count)
    ]


async def _contact(call: HttpCall) -> object:
    fields = {"last_name": TEXT, "Description": TEXT}
    return await Adapter().upsert(call, [Adapter().contact(contact(email=ADDRESS, fields=fields))])


ASIDE = {GET_TOKEN: raw(200, json.dumps({"access_token": "planted-token"}).encode())}
OPERATIONS = [Operation("contact", _contact, Repeat.NATURAL, aside=ASIDE)]
ENVIRONMENT: dict[str, str | None] = {"SALESFORCE_LOGIN_URL": None}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALESFORCE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("SALESFORCE_LOGIN_URL", f"{HOME}/")
    monkeypatch.delenv("SALESFORCE_BASE_URL", raising=False)
    monkeypatch.setattr(module, "TOKENS", Tokens())


def saved(*ids: str, created: bool = True) -> Response:
    return told([{"id": one, "success": True, "created": created, "errors": []} for one in ids])


def failed(code: str, *fields: str) -> dict[str, Any]:
    message = "no: ada@example.com"
    error = {"statusCode": code, "message": message, "fields": list(fields)}
    return {"success": False, "errors": [error]}


def told(document: Any, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, json.dumps(document).encode())


def refusal(status: int, code: str, *fields: str) -> Response:
    error = {"errorCode": code, "message": "no: ada@example.com", "fields": list(fields)}
    return told([error], status)


class Org:
    """One company's Salesforce: its token, then what the script says to each upsert."""

    def __init__(self, *script: doubles.Answer, where: str | None = HOME) -> None:
        self.script = list(script)
        self.where = where
        self.tokens = 0
        self.notes = doubles.Notes()
        self.vendor = doubles.Vendor(self._answer)
        client: Any = self.vendor
        self.call = HttpCall("salesforce", client, policy("salesforce"), self.notes)

    def _answer(self, request: Request) -> doubles.Answer:
        if request.url.endswith("/services/oauth2/token"):
            self.tokens += 1
            value = f"{TOKEN}{self.tokens}"
            return told({"access_token": value, "token_type": "Bearer", "instance_url": self.where})
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def upserts(self) -> list[tuple[Request, dict[str, str]]]:
        found = self.vendor.requests
        return [(one, dict(given)) for one, given in found if one.method == "PATCH"]

    async def upsert(self, found: Sequence[Record]) -> Outcome | VendorError:
        try:
            return await Adapter().upsert(self.call, found)
        except VendorError as error:
            return error


# --- what is sent


class Elsewhere(requests.Session):
    """The official package builds addresses of its own: this leads them to loopback."""

    def __init__(self, official: Catcher) -> None:
        super().__init__()
        self.trust_env = False
        self._official = official

    def request(self, method: Any, url: Any, *words: Any, **named: Any) -> Any:
        parts = urlsplit(str(url))
        self.host = parts.netloc
        return super().request(method, f"{self._official.url}{parts.path}", *words, **named)


async def test_an_upsert_beside_the_official_package() -> None:
    org = Org(saved("003A"))
    await org.upsert([Adapter().contact(contact())])
    ((request, credentials),) = org.upserts()
    mine = ours(request)

    with catcher([{"id": "003A", "success": True}]) as official:
        session = Elsewhere(official)
        sdk = Salesforce(instance_url=HOME, session_id=f"{TOKEN}1", version="62.0", session=session)
        row = {
            "attributes": {"type": "Contact"},
            "Ferryman_Id__c": "ada@example.com",
            "Email": "ada@example.com",
            "FirstName": "Ada",
            "LastName": "Lovelace",
            "Title": "Analyst",
        }
        path = "composite/sobjects/Contact/Ferryman_Id__c"
        sdk.restful(path, method="PATCH", json={"allOrNone": False, "records": [row]})
    theirs = official.last()

    assert f"https://{session.host}" == HOME
    assert request.url == f"{HOME}{PATH}"
    assert (mine.method, mine.path, mine.query) == (theirs.method, theirs.path, theirs.query)
    assert mine.json() == theirs.json()
    assert credentials == {"Authorization": theirs.headers["authorization"]}
    assert mine.headers["content-type"] == theirs.headers["content-type"]
    ((step, key, repeat, marked),) = org.notes.left
    assert (step, key, repeat) == ("load", f"{doubles.JOB}:load", Repeat.NATURAL)
    assert marked.opaque
    assert org.notes.answers == ["load"]


async def test_a_token_beside_the_official_package() -> None:
    org = Org(saved("003A"))
    await org.upsert(records(1))
    request, credentials = org.vendor.requests[0]
    mine = ours(request)

    with catcher({"access_token": TOKEN, "instance_url": HOME}) as official:
        session = Elsewhere(official)
        SalesforceLogin(
            consumer_key=CLIENT, consumer_secret=SECRET, domain="acme.my", session=session
        )
    theirs = official.last()

    assert f"https://{session.host}" == HOME
    assert (mine.method, mine.path, mine.body) == (theirs.method, theirs.path, theirs.body)
    assert credentials == {"Authorization": theirs.headers["authorization"]}
    assert mine.headers["content-type"] == theirs.headers["content-type"]
    kept = json.dumps(org.notes.interactions, default=str)
    assert TOKEN not in kept
    assert SECRET not in kept


def test_a_contact_by_its_external_id() -> None:
    record = Adapter().contact(
        contact(external_id="O'Hara\" OR 1=1", fields={"last_name": "O'Hara", "phone": None})
    )

    assert json.loads(record.body) == {
        "attributes": {"type": "Contact"},
        "Ferryman_Id__c": "O'Hara\" OR 1=1",
        "Email": "ada@example.com",
        "LastName": "O'Hara",
        "Phone": None,
    }
    assert record.name == "o'hara\" or 1=1"


def test_a_number_in_a_text_is_text() -> None:
    """Salesforce would refuse the whole request, with all its other contacts."""
    record = Adapter().contact(contact(fields={"postal_code": 10115, "Description": 7}))
    found = json.loads(record.body)
    assert (found["MailingPostalCode"], found["Description"]) == ("10115", 7)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"company": "Acme"}, "fields.company", "is not known"),
        ({"first_nam": "Ada"}, "fields.first_nam", "did you mean `first_name`?"),
        ({"Id": "003"}, "fields.Id", "is not known"),
        ({"attributes": "x"}, "fields.attributes", "is not known"),
        ({"Ferryman_Id__c": "x"}, "fields.Ferryman_Id__c", "of its own"),
        ({"Email": "x"}, "fields.Email", "of its own"),
        ({"first_name": "A", "FirstName": "B"}, "fields.FirstName", "is given twice"),
        ({"title": ["a"]}, "fields.title", "must be text"),
        ({"title": {"a": 1}}, "fields.title", "must be text"),
    ],
)
def test_fields_that_it_does_not_know(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(RefusedRecord, match=words) as raised:
        Adapter().contact(contact(fields=fields))

    assert raised.value.as_error()["field"] == field
    assert raised.value.code == "invalid_arguments"


# --- the token


async def test_a_token_serves_many_and_is_renewed_once() -> None:
    org = Org(saved("003A"))
    await org.upsert(records(1))
    await org.upsert(records(1))
    assert org.tokens == 1

    org.script = [refusal(401, "INVALID_SESSION_ID"), saved("003A")]
    assert isinstance(await org.upsert(records(1)), Outcome)
    assert org.tokens == 2
    assert [given["Authorization"] for _, given in org.upserts()][-2:] == [
        f"Bearer {TOKEN}1",
        f"Bearer {TOKEN}2",
    ]
    # The 401 proves that nothing happened, and the ledger knows it.
    assert org.notes.without_effect == ["load"]


async def test_fifty_whose_session_ended_ask_for_one_token() -> None:
    org = Org(saved("003A"))
    await org.upsert(records(1))
    old = f"Bearer {TOKEN}1"
    send = org.vendor.send

    async def sent(request: Request, credentials: Any) -> Response:
        await asyncio.sleep(0.001)
        stale = credentials.get("Authorization") == old
        org.script = [refusal(401, "INVALID_SESSION_ID") if stale else saved("003A")]
        return await send(request, credentials)

    org.vendor.send = sent  # type: ignore[method-assign]
    outcomes = await asyncio.gather(*(org.upsert(records(1)) for _ in range(50)))

    assert all(isinstance(one, Outcome) for one in outcomes)
    assert org.tokens == 2


async def test_a_session_that_ends_twice_is_a_setting() -> None:
    org = Org(refusal(401, "INVALID_SESSION_ID"))

    error = await org.upsert(records(1))

    assert isinstance(error, Misconfigured)
    assert "SALESFORCE_CLIENT_ID" in error.message
    assert len(org.upserts()) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (told({"error": "invalid_client_id"}, 400), Misconfigured),
        (told({}, 401), Misconfigured),
        (told({}), Unavailable),
        (told([]), Unavailable),
        (told({"access_token": ""}), Unavailable),
        (told({"access_token": "a\nb"}), Unavailable),
        (told({"access_token": 5}), Unavailable),
        (told({"access_token": "x", "instance_url": "https://evil.example"}), Unavailable),
        (told({"access_token": "x", "instance_url": "http://a.salesforce.com"}), Unavailable),
        (told({"access_token": "x", "instance_url": "https://a.salesforce.com/x"}), Unavailable),
        (told({"access_token": "x", "instance_url": "https://[::1"}), Unavailable),
        (Response(503, {}, b""), Unavailable),
        (NotSent("no connection to the vendor"), NotSent),
    ],
)
async def test_no_token(answer: doubles.Answer, kind: type[VendorError]) -> None:
    call, vendor, notes = doubles.call("salesforce", answer)

    with pytest.raises(kind):
        await Adapter().upsert(call, records(1))

    assert len(vendor.requests) == 1
    assert notes.left == []


async def test_the_api_is_where_the_token_says() -> None:
    there = "https://acme.my.salesforce.com"
    for where, url in ((f"{there}/", there), (None, HOME)):
        org = Org(saved("003A"), where=where)
        module.TOKENS = Tokens()
        await org.upsert(records(1))
        assert org.upserts()[0][0].url == f"{url}{PATH}"


async def test_a_base_url_of_the_operator_s_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALESFORCE_BASE_URL", "http://127.0.0.1:9/salesforce/")
    org = Org(saved("003A"))
    await org.upsert(records(1))

    assert [request.url for request, _ in org.vendor.requests] == [
        "http://127.0.0.1:9/salesforce/services/oauth2/token",
        f"http://127.0.0.1:9/salesforce{PATH}",
    ]


async def test_a_missing_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Adapter().configured()
    monkeypatch.delenv("SALESFORCE_LOGIN_URL")
    assert not Adapter().configured()
    error = await Org(saved("003A")).upsert(records(1))
    assert isinstance(error, Misconfigured)
    assert "SALESFORCE_LOGIN_URL" in error.message


# --- what its answers mean


async def test_each_record_has_its_own_result() -> None:
    results = [
        {"id": "003A", "success": True, "created": True, "errors": []},
        failed("UNABLE_TO_LOCK_ROW"),
        failed("REQUIRED_FIELD_MISSING", "LastName"),
        failed("INVALID_EMAIL_ADDRESS", "Email"),
        failed("DUPLICATES_DETECTED"),
        failed("DUPLICATE_VALUE", "Ferryman_Id__c"),
        failed("A_LATER_WORD"),
        {"id": "003B", "success": True, "created": False, "errors": []},
    ]
    org = Org(told(results))

    outcome = await org.upsert(records(8))

    assert outcome == Outcome(
        {
            1: Trouble("vendor_unavailable", "the vendor is busy with this contact", again=2.0),
            2: Trouble(
                "invalid_arguments", "fields.last_name: the vendor wants it", "fields.last_name"
            ),
            3: Trouble(
                "invalid_recipient",
                "email: the vendor does not take it for an address",
                "email",
            ),
            4: Trouble("duplicate", "a contact like it is there already"),
            5: Trouble("duplicate", "external_id: another contact has the same", "external_id"),
            6: Trouble("refused", "the vendor does not take it"),
        },
        {0: "003A", 7: "003B"},
    )
    assert org.notes.answers == ["load"]
    assert type(outcome.troubles[1].error()) is Unavailable
    assert type(outcome.troubles[2].error()) is RefusedRecord


@pytest.mark.parametrize(
    "answer",
    [
        saved("003A"),
        saved("003A", "003B", "003C"),
        told([]),
        told({}),
        told([{}, {}]),
        told([{"success": True}, {"success": True}]),
        saved("003A", "003\0"),
        saved("003A", ""),
        told([{"success": False, "errors": []}] * 2),
        told(["003A", "003B"]),
        Response(200, {}, b"<html>"),
        Response(204, {}, b""),
        Response(300, {}, b"[]"),
        Unknown("the connection was cut", code="connection_lost"),
    ],
)
async def test_an_answer_that_does_not_tell_of_each(answer: doubles.Answer) -> None:
    org = Org(answer)

    error = await org.upsert(records(2))

    assert isinstance(error, Unknown | Unavailable)
    assert org.notes.answers == org.notes.without_effect == []


@pytest.mark.parametrize(
    ("answer", "kind", "code", "words"),
    [
        (refusal(400, "INVALID_FIELD", "Title"), Whole, "invalid_arguments", "fields.title"),
        (
            told([{"errorCode": "INVALID_FIELD", "message": "No such column 'Title' on x"}], 400),
            Whole,
            "invalid_arguments",
            "fields.title",
        ),
        (refusal(400, "JSON_PARSER_ERROR"), Whole, "invalid_arguments", "cannot read"),
        (refusal(400, "A_LATER_WORD"), Whole, "refused", "does not take"),
        (told({}, 400), Whole, "refused", "refused the request"),
        (Response(400, {}, b"no JSON"), Whole, "refused", "refused the request"),
        (Response(413, {}, b""), Whole, "too_large", "larger"),
        (refusal(400, "UNABLE_TO_LOCK_ROW"), Unavailable, "vendor_unavailable", "busy"),
        (refusal(404, "NOT_FOUND"), Misconfigured, "misconfigured", "Ferryman_Id__c"),
        (
            refusal(400, "INVALID_FIELD", "Ferryman_Id__c"),
            Misconfigured,
            "misconfigured",
            "Ferryman_Id__c",
        ),
        (refusal(403, "INSUFFICIENT_ACCESS"), Misconfigured, "misconfigured", "may not"),
        (refusal(403, "REQUEST_LIMIT_EXCEEDED"), DailyLimit, "daily_limit", "daily limit"),
        (refusal(503, "SERVER_UNAVAILABLE"), Unavailable, "vendor_unavailable", "503"),
        (told([], 429, retry_after="9"), Throttled, "rate_limited", "limit"),
    ],
)
async def test_refusals_of_the_whole(
    answer: Response, kind: type[VendorError], code: str, words: str
) -> None:
    org = Org(answer)

    error = await org.upsert(records(2))

    assert type(error) is kind
    assert (error.code, words in error.message) == (code, True)
    assert "ada@" not in json.dumps(error.as_error())
    assert org.notes.answers == (["load"] if isinstance(error, Refused) else [])


async def test_a_day_s_limit_waits_for_hours_and_not_for_seconds() -> None:
    error = await Org(refusal(403, "REQUEST_LIMIT_EXCEEDED")).upsert(records(1))

    assert isinstance(error, Throttled)
    assert error.retry_after == 3600


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("api-usage=18/5000", (4982, 5000)),
        ("per-app-api-usage=17/250(appName=x); api-usage=25/5000", (4975, 5000)),
        ("api-usage=5001/5000", (0, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("api-usage=1", None),
        ("", None),
    ],
)
def test_what_is_left_of_the_day(header: str, left: tuple[int, int] | None) -> None:
    found = quota(Response(200, {"sforce-limit-info": header}, b""))
    assert (found and (found.remaining, found.limit)) == left
