"""`ferryman suppressions`: what is asked, what is said, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import respx

from tests.client.test_cli import ID, JOB, URL, assert_refused, run
from tests.harness import Harness

ADA: dict[str, Any] = {
    "channel": "email",
    "address": "ada@example.com",
    "reason": "complaint",
    "source": "sendgrid",
    "at": "2030-01-31T09:00:00Z",
}
PATH = f"{URL}/v1/suppressions"
SYNC = {**JOB, "kind": "sync_suppressions", "vendor": "sendgrid"}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


@respx.mock
def test_a_list_page_by_page() -> None:
    pages = [{"suppressions": [ADA] * 3, "next": "c"}, {"suppressions": [ADA] * 3, "next": None}]
    first, last = (respx.MockResponse(json=page) for page in pages)
    route = respx.get(PATH).mock(side_effect=[first, last, first, last])
    result = run("suppressions", "list", "--channel", "email", "--reason", "complaint")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["channel", "address", "reason", "source", "at"]
    assert [row.split() for row in rows] == [[str(value) for value in ADA.values()]] * 6
    asked = [dict(call.request.url.params) for call in route.calls]
    assert asked[0] == {"channel": "email", "reason": "complaint", "limit": "50"}
    assert asked[1] == {**asked[0], "cursor": "c"}
    found = run("suppressions", "list", "--address", ADA["address"], "--limit", "4", "--json")
    assert json.loads(found.stdout) == {"suppressions": [ADA] * 4}


@respx.mock
def test_a_list_of_none() -> None:
    respx.get(PATH).respond(json={"suppressions": [], "next": None})
    result = run("suppressions", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there are none such" in result.stderr


@respx.mock
@pytest.mark.parametrize(
    ("address", "channel"), [("ada@example.com", "email"), ("+441632960961", "sms")]
)
def test_one_is_added(address: str, channel: str) -> None:
    found = {**ADA, "channel": channel, "address": address, "reason": "manual"}
    route = respx.post(PATH).respond(201, json=found)
    result = run("suppressions", "add", address, "--note", "asked by telephone")
    assert (result.exit_code, result.stdout) == (0, f"nothing is sent to {address}: manual\n")
    sent = json.loads(route.calls.last.request.content)
    assert sent == {"channel": channel, "address": address, "note": "asked by telephone"}
    assert json.loads(run("suppressions", "add", address, "--json").stdout) == found


@respx.mock
@pytest.mark.parametrize(
    ("address", "path"),
    [("a/b+c@example.com", "email/a%2Fb%2Bc%40example.com"), ("+4416", "sms/%2B4416")],
)
def test_one_is_removed(address: str, path: str) -> None:
    route = respx.delete(url__startswith=f"{PATH}/").respond(204)
    result = run("suppressions", "remove", address)
    assert (result.exit_code, result.stdout) == (0, f"{address} may be sent to again\n")
    assert route.calls.last.request.url.raw_path.decode() == f"/v1/suppressions/{path}"
    missing = {"title": "T", "detail": "That address is not suppressed."}
    respx.delete(url__startswith=f"{PATH}/").respond(404, json=missing)
    assert_refused(run("suppressions", "remove", address), "not suppressed")
    respx.delete(url__startswith=f"{PATH}/").respond(200, text="<html>")
    assert run("suppressions", "remove", address).exit_code == 1


@respx.mock
@pytest.mark.parametrize(
    ("how", "said", "code"),
    [
        ({"status": "succeeded", "result": {"seen": 12, "new": 3}}, "succeeded 12 seen, 3 new", 0),
        ({"status": "failed", "error": {"code": "x", "message": "y"}}, "failed x: y", 1),
    ],
)
def test_a_vendors_own_list(how: dict[str, Any], said: str, code: int) -> None:
    respx.post(f"{URL}/v1/vendors/sendgrid/sync-suppressions").respond(202, json=SYNC)
    respx.get(f"{URL}/v1/jobs/{ID}").respond(json={**SYNC, **how})
    result = run("suppressions", "sync")
    assert (result.exit_code, result.stdout) == (code, f"sendgrid: {said}\n")
    result = run("suppressions", "sync", "sendgrid", "--no-wait")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{ID}\n", "")
    found = json.loads(run("suppressions", "sync", "--no-wait", "--json").stdout)
    assert found == SYNC


def test_it_needs_an_api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL="", FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    for words in (("list",), ("add", "a@b.example"), ("remove", "a@b.example"), ("sync",)):
        assert_refused(run("suppressions", *words), "FERRYMAN_URL is not set", "needs the HTTP API")


def test_help_teaches() -> None:
    text = run("suppressions", "--help").stdout
    for word in ("asked by telephone", "only unsubscribed", "remove +44", "sync sendgrid"):
        assert word in text


def test_the_real_api_understands_each_of_them(harness: Harness, use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=harness.api())
    for address in ("Ada/B@Example.com", "+44 1632 960961"):
        added = run("suppressions", "add", address, "--note", "asked")
        assert added.exit_code == 0, added.stderr
    rows = run("suppressions", "list").stdout.splitlines()[1:]
    assert [row.split()[:3] for row in rows] == [
        ["email", "ada/b@example.com", "manual"],
        ["sms", "+441632960961", "manual"],
    ]
    assert run("suppressions", "remove", "ada/b@example.com").exit_code == 0
    assert run("suppressions", "remove", "ada/b@example.com").exit_code == 2
    assert len(run("suppressions", "list").stdout.splitlines()) == 2
    assert run("suppressions", "sync", "--no-wait").exit_code == 0
    assert run("suppressions", "sync", "nobody").exit_code == 2
    assert_refused(run("suppressions", "add", "nobody"), "address")
