"""Every kind of bad input: a problem document that names the field and no value, nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from api import body
from tests.api.conftest import serving

CANARY = "canary-4711"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Over the ledger of the whole run: nothing is stored here."""
    async with serving(database_url) as (_, made):
        yield made


@pytest.fixture(scope="module")
def stored(database_url: str) -> Iterator[Callable[[], Any]]:
    """How many jobs and keys there are."""
    query = "SELECT count(*), (SELECT count(*) FROM ferryman.job_keys) FROM ferryman.jobs"
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield lambda: connection.execute(query).fetchone()


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document of an answer, its form checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert CANARY not in answer.text
    return document


MAIL = {"to": "ada@example.com", "subject": "Hi", "text": "Hello"}
# What is changed in an acceptable charge, and the field that the problem must name.
BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown kind": ({"kind": CANARY}, "kind"),
    "kind missing": ({"kind": ...}, "kind"),
    "kind no text": ({"kind": 7}, "kind"),
    "args missing": ({"args": ...}, "args"),
    "args a list": ({"args": [CANARY]}, "args"),
    "args text": ({"args": CANARY}, "args"),
    "unknown field": ({"prioritty": CANARY}, "prioritty"),
    "unknown priority": ({"priority": CANARY}, "priority"),
    "empty key": ({"key": ""}, "key"),
    "long key": ({"key": CANARY * 30}, "key"),
    "number as key": ({"key": 7}, "key"),
    "NUL in key": ({"key": f"{CANARY}\0"}, "key"),
    "half a pair in key": ({"key": "\ud800"}, "key"),
    "unknown vendor": ({"vendor": CANARY}, "vendor"),
    "kind before vendor": ({"kind": CANARY, "vendor": CANARY}, "kind"),
    "vendor of another kind": ({"vendor": "sendgrid"}, "vendor"),
    "run_at without zone": ({"run_at": "2030-01-31T12:00:00"}, "run_at"),
    "run_at a date": ({"run_at": "2030-01-31"}, "run_at"),
    "run_at no time": ({"run_at": CANARY}, "run_at"),
    "run_at a number": ({"run_at": 1893456000}, "run_at"),
    "run_at no day": ({"run_at": "2030-02-31T12:00:00Z"}, "run_at"),
    "run_at too late": ({"run_at": "9999-12-31T23:59:59-12:00"}, "run_at"),
    "run_at too early": ({"run_at": "0001-01-01T00:00:00+12:00"}, "run_at"),
    "expires_at no time": ({"expires_at": CANARY}, "expires_at"),
    "expires_at past": ({"expires_at": "2020-01-31T12:00:00Z"}, "expires_at"),
    "expires_at before run_at": (
        {"run_at": "2030-01-31T12:00:00Z", "expires_at": "2030-01-31T11:59:59Z"},
        "expires_at",
    ),
    "expires_at equals run_at": (
        {"run_at": "2030-01-31T12:00:00Z", "expires_at": "2030-01-31T13:00:00+01:00"},
        "expires_at",
    ),
}
BAD_ARGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "float amount": ("charge", {"amount": 12.5}, "amount"),
    "whole float": ("charge", {"amount": 1250.0}, "amount"),
    "text amount": ("charge", {"amount": "1250"}, "amount"),
    "negative amount": ("charge", {"amount": -1}, "amount"),
    "zero amount": ("charge", {"amount": 0}, "amount"),
    "huge amount": ("charge", {"amount": 10**30}, "amount"),
    "unknown currency": ("charge", {"currency": "zzz"}, "currency"),
    "unknown argument": ("charge", {CANARY[:6]: 1}, CANARY[:6]),
    "customer missing": ("charge", {"customer": ...}, "customer"),
    "NUL in metadata": ("charge", {"metadata": {"a": "\0"}}, "metadata.a"),
    "no address": ("send_email", {"to": CANARY}, "to"),
    "header injection": ("send_email", {"subject": f"Hi\r\nBcc: {CANARY}"}, "subject"),
    "no charge": ("refund", {"charge": ...}, "charge"),
    "no place": ("sync_objects", {"source": CANARY}, "source"),
}
GOOD_ARGS: dict[str, dict[str, Any]] = {
    "refund": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"},
    "send_email": MAIL,
    "sync_objects": {"source": "file:///srv/photos", "destination": "s3://backup/photos"},
}


def changed(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`...` takes a field away."""
    return {k: v for k, v in (good | changes).items() if v is not ...}


@pytest.mark.parametrize("case", BAD_FIELDS)
async def test_a_bad_field(client: httpx.AsyncClient, stored: Any, charge: Any, case: str) -> None:
    changes, field = BAD_FIELDS[case]
    before = stored()
    content = json.dumps(changed(charge, changes))
    answer = await client.post("/v1/jobs", content=content, headers=JSON)
    assert problem(answer, 422, "invalid-arguments")["field"] == field
    assert stored() == before


@pytest.mark.parametrize("case", BAD_ARGS)
async def test_a_bad_argument(
    client: httpx.AsyncClient, stored: Any, charge: Any, case: str
) -> None:
    kind, changes, field = BAD_ARGS[case]
    before = stored()
    args = changed(GOOD_ARGS.get(kind, charge["args"]), changes)
    answer = await client.post("/v1/jobs", json={"kind": kind, "args": args, "key": "bad"})
    document = problem(answer, 422, "invalid-arguments")
    assert document["field"] == field
    assert document["errors"][0]["field"] == field
    assert stored() == before


async def test_every_bad_field_is_told(client: httpx.AsyncClient, charge: Any) -> None:
    answer = await client.post("/v1/jobs", json=charge | {"priority": "urgent", "key": ""})
    document = problem(answer, 422, "invalid-arguments")
    assert {error["field"] for error in document["errors"]} == {"priority", "key"}


MALFORMED = {
    "nothing": b"",
    "cut off": b'{"kind": "charge", "args": {',
    "no object": b'["charge"]',
    "a name twice": b'{"kind": "charge", "kind": "refund", "args": {}}',
    "a name twice, deep": b'{"kind": "charge", "args": {"amount": 1, "amount": 2}}',
    "NaN": b'{"kind": "charge", "args": {"amount": NaN}}',
    "no UTF-8": b'{"kind": "\xff"}',
    "too deep": b'{"args": ' + b"[" * 100_000,
    "too many digits": b'{"args": ' + b"9" * 5_000 + b"}",
    "form": b"kind=charge",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_malformed_json(client: httpx.AsyncClient, stored: Any, case: str) -> None:
    before = stored()
    answer = await client.post("/v1/jobs", content=MALFORMED[case], headers=JSON)
    problem(answer, 400, "malformed-json")
    assert stored() == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_content_type(
    client: httpx.AsyncClient, charge: Any, headers: dict[str, str]
) -> None:
    answer = await client.post("/v1/jobs", content=json.dumps(charge), headers=headers)
    problem(answer, 415, "unsupported-media-type")


async def test_a_body_too_large_is_not_read(client: httpx.AsyncClient, stored: Any) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    before = stored()
    headers = JSON | {"Content-Length": str(body.MOST_BYTES + 1)}
    answer = await client.post("/v1/jobs", content=unread(), headers=headers)
    problem(answer, 413, "too-large")
    assert stored() == before


async def test_a_body_of_unknown_length_is_read_to_the_limit(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    answer = await client.post("/v1/jobs", content=endless(), headers=JSON)
    problem(answer, 413, "too-large")
    assert sent <= body.MOST_BYTES + 2 * 65_536


BAD_QUERIES = {
    "?status=done": "status",
    "?statuss=failed": "statuss",
    "?limit=0": "limit",
    "?limit=201": "limit",
    "?limit=many": "limit",
    "?cursor=canary-4711": "cursor",
    "?batch=canary-4711": "batch",
    "?since=yesterday": "since",
    "?since=2030-01-31T12:00:00": "since",
    "?key=%00": "key",
    "?kind=": "kind",
    "/canary-4711": "id",
    "/canary-4711/attempts": "id",
    "/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wait=-1": "wait",
    "/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wait=nan": "wait",
    "/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wait=canary-4711": "wait",
    "/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wiat=9": "wiat",
    "/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?until=death": "until",
    "/bulk/attempts": "id",
}


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_a_bad_query(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/jobs{query}")
    assert problem(answer, 422, "invalid-arguments")["field"] == BAD_QUERIES[query]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1/jobs/", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
        ("DELETE", "/v1/jobs", 405, "method-not-allowed"),
        ("GET", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901", 404, "not-found"),
        ("GET", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901?wait=9", 404, "not-found"),
        ("GET", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901/attempts", 404, "not-found"),
        ("GET", "/v1/suppressions/", 404, "not-found"),
        ("POST", "/v1/vendors/nobody/pause", 404, "not-found"),
        ("POST", "/v1/vendors/nobody/resume", 404, "not-found"),
    ],
)
async def test_nothing_there(
    client: httpx.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    problem(await client.request(method, path), status, kind)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/jobs", "GET, POST"),
        ("PUT", "/v1/jobs/019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901", "GET"),
        ("GET", "/v1/jobs/bulk", "POST"),
        ("PUT", "/v1/suppressions", "GET, POST"),
        ("GET", "/v1/suppressions/email/a/b@example.com", "DELETE"),
        ("GET", "/v1/jobs/retry", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")


@pytest.mark.parametrize("step", ["pause", "resume"])
@pytest.mark.parametrize("note", [None, "", 7, "x" * 501, "two\nlines"])
async def test_a_bad_note(client: httpx.AsyncClient, step: str, note: object) -> None:
    answer = await client.post(f"/v1/vendors/stripe/{step}", json={"note": note})
    assert problem(answer, 422, "invalid-arguments")["field"] == "note"


async def test_a_surprise_is_a_500_whose_text_stays_inside(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(database_url) as (app, client):

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError(CANARY)

        app.state.ledger.run = broken
        problem(await client.get("/v1/jobs"), 500, "internal-error")
    assert "RuntimeError in GET /v1/jobs" in caplog.text
    assert "in broken" in caplog.text
    assert CANARY not in caplog.text
