"""HubSpot: batches that are read record by record, a day's limit, and webhooks that are signed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import hubspot
import pytest
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    SimplePublicObjectBatchInputUpsert,
)

from adapters._base import Delivery, Throttled
from adapters._crm import Contact
from adapters._http import HttpCall
from adapters._news import ContactNews
from adapters._records import Record
from adapters.hubspot import Adapter
from ferryman.settings import settings
from ferryman.testing import Sandbox
from sandbox.hubspot.fake import CONTACTS, TOKEN, UPSERT
from sandbox.state import State
from tests.harness import until
from tests.sandbox.records import Asker, calling
from tests.sandbox.test_webhooks import Shop


def one(number: int = 0, /, **changes: Any) -> dict[str, Any]:
    email = f"ada{number}@example.com"
    given = {
        "id": email,
        "idProperty": "email",
        "properties": {"email": email, "firstname": "Ada"},
        "objectWriteTraceId": f"t-{number}",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.fixture
def direct(state: State) -> Asker:
    return Asker(state.vendors["hubspot"], authorization=f"Bearer {TOKEN}")


def upsert(direct: Asker, *inputs: Any) -> tuple[int, Any]:
    return direct.ask("POST", UPSERT, {"inputs": list(inputs)})


def test_contacts_are_made_and_changed(direct: Asker) -> None:
    status, told = upsert(direct, one(0), one(1))
    assert (status, [r["new"] for r in told["results"]]) == (200, [True, True])

    status, told = upsert(direct, one(1, id="ADA1@example.com", properties={"jobtitle": "Dr"}))

    assert (status, told["results"][0]["new"]) == (200, False)
    assert told["results"][0]["objectWriteTraceId"] == "t-1"
    assert told["results"][0]["properties"]["firstname"] == "Ada"
    assert direct.totals() == {"contact": 3}
    assert direct.vendor.dashboard("count", {}) == {"contacts": 2}


def test_a_207_names_each_by_its_trace(direct: Asker) -> None:
    status, told = upsert(
        direct,
        one(0),
        one(1, properties={"jobtitl": "Dr"}),
        one(2, properties={"email": "no address"}),
        one(3, properties={"lifecyclestage": "unheard of"}),
    )

    assert (status, told["numErrors"], len(told["results"])) == (207, 3, 1)
    assert [e["context"]["objectWriteTraceId"] for e in told["errors"]] == [
        ["t-1"],
        ["t-2"],
        ["t-3"],
    ]
    assert direct.totals() == {"contact": 1}


@pytest.mark.parametrize(
    ("inputs", "headers", "status"),
    [
        ([], {}, 400),
        ([one(n) for n in range(101)], {}, 400),
        ([one(0), one(0, objectWriteTraceId="t-9")], {}, 400),
        ([one(0), one(0, id="ADA0@example.com", objectWriteTraceId="t-9")], {}, 400),
        ([one(0), one(1, objectWriteTraceId="t-0")], {}, 400),
        ([one(0, id=None)], {}, 400),
        ([one(0, properties={"email": 5})], {}, 400),
        ([one(0, properties=None)], {}, 400),
        ([one(0, idProperty="firstname")], {}, 400),
        ([one(0, idProperty=None)], {}, 400),
        ([one(0, shoe=1)], {}, 400),
        ([one(0, properties={"jobtitl": "x"}, objectWriteTraceId=None), one(1)], {}, 400),
        (["x"], {}, 400),
        ([one(0)], {"authorization": "Bearer x"}, 401),
        ([one(0)], {"content_type": "text/plain"}, 415),
    ],
)
def test_refusals(direct: Asker, inputs: Any, headers: dict[str, str], status: int) -> None:
    got, told = direct.ask("POST", UPSERT, {"inputs": inputs}, **headers)
    assert (got, told["status"]) == (status, "error")
    assert told["correlationId"]
    assert direct.totals() == {}


def test_what_else_is_asked(direct: Asker) -> None:
    upsert(direct, one(0))
    status, told = direct.ask("GET", f"{CONTACTS}/ada0@example.com?idProperty=email")
    assert (status, told["properties"]["firstname"]) == (200, "Ada")
    assert direct.ask("GET", f"{CONTACTS}/{told['id']}")[1]["id"] == told["id"]
    assert direct.ask("GET", f"{CONTACTS}/1")[0] == 404
    assert direct.ask("GET", UPSERT.replace("contacts", "deals"))[0] == 404
    assert direct.ask("PUT", UPSERT)[0] == 405
    assert direct.ask("POST", UPSERT, b"{")[0] == 400


def test_a_property_of_the_account_s_own(direct: Asker) -> None:
    mine = one(0, id="42", idProperty="customer_number", properties={"shoe_size": "44"})
    assert upsert(direct, mine)[0] == 400
    direct.vendor.dashboard(
        "settings", {"unique": ["customer_number"], "properties": ["shoe_size"]}
    )
    assert [upsert(direct, mine)[1]["results"][0]["new"] for _ in range(2)] == [True, False]


def test_the_day_s_limit(direct: Asker) -> None:
    direct.vendor.dashboard("settings", {"daily": 1})
    answers = [direct.answer("POST", UPSERT, {"inputs": [one(0)]}) for _ in range(2)]
    assert [one.status for one in answers] == [200, 429]
    assert [a.headers["X-HubSpot-RateLimit-Daily-Remaining"] for a in answers] == ["0", "0"]
    assert b'"policyName":"DAILY"' in answers[1].body


def test_the_official_package_is_understood(sandbox: Sandbox) -> None:
    sdk = hubspot.HubSpot(access_token=TOKEN, host=sandbox.base_url("hubspot"))
    inputs = [
        SimplePublicObjectBatchInputUpsert(
            id="ada@example.com", id_property="email", properties={"email": "ada@example.com"}
        )
    ]
    made = sdk.crm.contacts.batch_api.upsert(
        batch_input_simple_public_object_batch_input_upsert=(
            BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs)
        )
    )
    assert made.results[0].new is True
    assert sdk.crm.contacts.basic_api.get_by_id(made.results[0].id).id == made.results[0].id


# --- by the adapter, over real connections


@pytest.fixture
async def call(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpCall]:
    async with calling("hubspot", sandbox, monkeypatch) as way:
        yield way


def records(*emails: str, **fields: Any) -> list[Record]:
    return [
        Adapter().contact(Contact(f"r-{n}", email, {"first_name": "Ada"} | fields))
        for n, email in enumerate(emails)
    ]


async def test_a_bad_one_among_many(call: HttpCall, sandbox: Sandbox) -> None:
    good = [f"ada{n}@example.com" for n in range(98)]

    outcome = await Adapter().upsert(call, records(*good, "no.address", "ada@x.invalid"))

    assert {at: (one.field, one.code) for at, one in outcome.troubles.items()} == {
        98: ("email", "invalid_recipient")
    }
    assert len(outcome.references) == 99
    assert sandbox.dashboard("hubspot", "count") == {"contacts": 99}


async def test_an_upsert_may_be_repeated(call: HttpCall, sandbox: Sandbox) -> None:
    for _ in range(2):
        outcome = await Adapter().upsert(call, records("ada@example.com", title="Analyst"))
        assert not outcome.troubles
    found = sandbox.dashboard("hubspot", "contact", email="ada@example.com")
    assert found["properties"] == {
        "email": "ada@example.com",
        "firstname": "Ada",
        "jobtitle": "Analyst",
    }
    assert [one["created"] for one in sandbox.effects("hubspot")] == [True, False]


async def test_the_day_ends_at_midnight(call: HttpCall, sandbox: Sandbox) -> None:
    sandbox.dashboard("hubspot", "settings", daily=0)
    with pytest.raises(Throttled, match=r"daily limit is reached, until 00:00 UTC"):
        await Adapter().upsert(call, records("ada@example.com"))


# --- webhooks


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


async def test_webhooks_are_hubspot_s(
    sandbox: Sandbox, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.environment().items():
        if name.startswith("HUBSPOT_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("FERRYMAN_PUBLIC_URL", shop.url)
    settings.cache_clear()
    sandbox.webhooks("hubspot", shop.url)

    made = sandbox.dashboard(
        "hubspot", "change", email="ada@example.com", properties={"jobtitle": "Analyst"}
    )
    sandbox.dashboard("hubspot", "delete", email="ada@example.com", for_good=True)
    until(lambda: len(shop.seen) >= 2, 5, what="two deliveries")

    adapter = Adapter()
    news = []
    for headers, body in shop.seen:
        delivery = Delivery({k.lower(): v for k, v in headers.items()}, body, shop.url)
        for event in await adapter.receive(delivery):
            news += [one for one in adapter.news(event) if isinstance(one, ContactNews)]
    settings.cache_clear()
    told = {(one.what, one.field, one.value) for one in news}
    assert {one.vendor_reference for one in news} == {made["id"]}
    assert told == {
        ("made", None, None),
        ("changed", "email", "ada@example.com"),
        ("changed", "title", "Analyst"),
        ("erased", None, None),
    }
