"""SendGrid's own lists of whom it sends nothing to: read whole, page by page."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest

from adapters._base import (
    Misconfigured,
    Refused,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import HttpCall
from adapters._mail import Suppressed
from adapters.sendgrid import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.test_sendgrid import KEY, configure

Row = dict[str, Any]
AT = 1795556943
BOUNCE = {"reason": "550 5.1.1 <b@example.com> no", "status": "5.1.1"}
# As SendGrid tells them, one of each list.
LISTS: dict[str, list[Row]] = {
    "bounces": [{"created": AT, "email": "b@example.com", **BOUNCE}],
    "invalid_emails": [{"created": AT, "email": "i@example.com", "reason": "no MX"}],
    "spam_reports": [{"created": AT, "email": "s@example.com", "ip": "192.0.2.1"}],
    "unsubscribes": [{"created": AT, "email": "u@example.com"}],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch)


def calling(lists: dict[str, list[Row]]) -> tuple[HttpCall, doubles.Vendor, doubles.Notes]:
    """A way out to a SendGrid that has these lists."""

    def answer(request: Request) -> Response:
        parts = urlsplit(request.url)
        query = {name: int(value) for name, (value,) in parse_qs(parts.query).items()}
        entries = lists[parts.path.removeprefix("/v3/suppression/")]
        page = entries[query["offset"] :][: query["limit"]]
        return Response(200, {"content-type": "application/json"}, json.dumps(page).encode())

    client, notes = doubles.Vendor(answer), doubles.Notes()
    made = HttpCall("sendgrid", client, policy("sendgrid"), notes)  # type: ignore[arg-type]
    return made, client, notes


async def read(call: HttpCall) -> list[Suppressed]:
    return [one async for one in Adapter().suppressions(call)]


async def test_every_list_is_read_and_blocks_are_left_out() -> None:
    call, client, notes = calling(LISTS)

    found = await read(call)

    at = datetime.fromtimestamp(AT, UTC)
    assert found == [
        Suppressed("b@example.com", "bounce", at),
        Suppressed("i@example.com", "invalid", at),
        Suppressed("s@example.com", "complaint", at),
        Suppressed("u@example.com", "unsubscribe", at),
    ]
    assert {request.method for request, _ in client.requests} == {"GET"}
    assert all(given == {"Authorization": f"Bearer {KEY}"} for _, given in client.requests)
    # Read, not written: the ledger has no mark of it, and no address.
    assert notes.left == []
    assert "@" not in json.dumps(notes.interactions, default=str)


@pytest.mark.parametrize(("many", "pages"), [(0, 1), (499, 1), (500, 2), (501, 2), (1000, 3)])
async def test_pages_are_read_until_one_is_short(many: int, pages: int) -> None:
    entries = [{"created": AT, "email": f"user{n}@example.com"} for n in range(many)]
    call, client, _ = calling(dict.fromkeys(LISTS, entries))

    found = await read(call)

    assert Counter(one.address for one in found) == {one["email"]: 4 for one in entries}
    assert len(client.requests) == 4 * pages


async def test_an_address_is_the_one_that_our_mails_have() -> None:
    call, _, _ = calling(LISTS | {"bounces": [{"created": AT, "email": "a@xn--bcher-kva.example"}]})
    assert (await read(call))[0].address == "a@bücher.example"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"created": AT},
        {"email": "a@example.com"},
        {"created": "soon", "email": "a@example.com"},
        {"created": 1e300, "email": "a@example.com"},
        {"created": AT, "email": "no address"},
        {"created": AT, "email": None},
        "a@example.com",
        None,
    ],
)
async def test_an_entry_that_is_none_holds_up_no_other(entry: Any) -> None:
    call, _, _ = calling(LISTS | {"bounces": [entry, *LISTS["bounces"]]})
    assert [one.address[0] for one in await read(call)] == ["b", "i", "s", "u"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(429, {}, b""), Throttled),
        (Response(500, {}, b""), Unavailable),
        (Response(401, {}, b""), Misconfigured),
        (Response(404, {}, b"{}"), Refused),
        (Response(302, {}, b"[]"), Refused),
        (Response(200, {}, b"no JSON"), Unavailable),
        (Response(200, {}, b'{"errors": []}'), Unavailable),
        (Unknown("the vendor did not answer in time", code="timeout"), Unavailable),
        # A key for sending mail alone: the mail must go on.
        (Response(403, {}, b'{"errors": [{"message": "access forbidden"}]}'), Refused),
    ],
)
async def test_what_cannot_be_read_is_no_empty_list(
    answer: doubles.Answer, error: type[VendorError]
) -> None:
    call, _, notes = doubles.call("sendgrid", answer)
    with pytest.raises(VendorError) as raised:
        await read(call)
    assert type(raised.value) is error
    assert notes.left == []


@pytest.fixture
def contract() -> Row:
    """SendGrid's published description of its API."""
    if (folder := os.environ.get("FERRYMAN_CONTRACTS")) is None:
        pytest.skip("FERRYMAN_CONTRACTS is not set")
    found: Row = json.loads(Path(folder, "sendgrid.json").read_text())
    return found


async def test_the_requests_keep_the_published_contract(contract: Row) -> None:
    call, client, _ = calling(LISTS)
    await read(call)

    for (request, _), entries in zip(client.requests, LISTS.values(), strict=True):
        parts = urlsplit(request.url)
        operation = contract["paths"][parts.path]["get"]
        known = {part["name"]: part for part in operation["parameters"]}
        for name, (value,) in parse_qs(parts.query).items():
            assert known[name]["in"] == "query"
            jsonschema.validate(int(value), known[name]["schema"])
        needed = {name for name, part in known.items() if part.get("required")}
        assert needed <= set(request.headers)
        # What the test's own vendor answers is what SendGrid documents.
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(entries, {**schema, "components": contract["components"]})
