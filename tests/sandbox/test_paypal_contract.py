"""The fake against PayPal's published contract: the fields it takes, and the answers it gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from sandbox.paypal.forms import Choice, Flag, Many, Structure, Text, Url
from sandbox.paypal.routes import ENDPOINTS
from sandbox.paypal.schemas import VERIFY_WEBHOOK
from sandbox.state import State
from tests.sandbox.conftest import contract
from tests.sandbox.paypal import (
    ASKING,
    ORDERS,
    PAYMENTS,
    PayPal,
    connected,
    order,
    source,
    unit,
    vaulted,
)

FAKED = {name: endpoint.takes for name, endpoint in ENDPOINTS.items() if "POST" in name}
FAKED["POST v1/notifications/verify-webhook-signature"] = VERIFY_WEBHOOK
NOT_IN_CONTRACT = "v1/customer/disputes"
EASIER = {
    # Long patterns of addresses: the fake checks lengths only.
    "email_address",
    # See sandbox/paypal/schemas.py.
    "transmission_sig",
}
Schema = dict[str, Any]


@pytest.fixture(scope="module")
def published() -> Schema:
    return contract("paypal")


class Contract:
    """The published schemas, without references and compositions."""

    def __init__(self, document: Schema) -> None:
        self._schemas = document["components"]["schemas"]
        self.operations = {
            f"{method.upper()} {_named(path)}": operation
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        }

    def whole(self, schema: Schema) -> Schema:
        """A schema with its own and its parts' properties; the later part is the stricter one."""
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]] | {
                name: value for name, value in schema.items() if name != "$ref"
            }
        merged: Schema = {"properties": {}, "required": []}
        for part in schema.get("allOf", []):
            found = self.whole(part)
            for name, inner in found["properties"].items():
                merged["properties"][name] = merged["properties"].get(name, {}) | inner
            merged["required"] += found["required"]
        merged["properties"] |= schema.get("properties", {})
        merged["required"] += schema.get("required", [])
        return {name: v for name, v in schema.items() if name != "allOf"} | merged

    def answers(self, call: str, status: int) -> Schema | None:
        responses = self.operations[call]["responses"]
        # PayPal documents 200 for a repeat in words, and for some calls only there.
        found = responses.get(str(status), responses.get("201", {}))
        content: Schema = found.get("content", {}).get("application/json", {})
        return content.get("schema")

    def check(self, schema: Schema, value: Any, at: str) -> None:
        """Raises for a value that the schema refuses, or that has names it does not know."""
        whole = self.whole(schema)
        _valid(whole, value, at)
        if isinstance(value, dict) and whole["properties"]:
            assert value.keys() <= whole["properties"].keys(), at
            assert set(whole["required"]) <= value.keys(), at
            for name, inner in value.items():
                self.check(whole["properties"][name], inner, f"{at}/{name}")
        if isinstance(value, list):
            for place, inner in enumerate(value):
                self.check(whole["items"], inner, f"{at}/{place}")


SCALAR = ("type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems")


def _valid(schema: Schema, value: Any, at: str) -> None:
    checked = {name: schema[name] for name in SCALAR if name in schema}
    try:
        jsonschema.validate(value, checked)
    except jsonschema.ValidationError as error:
        raise AssertionError(f"{at}: {error.message}") from None


def _named(path: str) -> str:
    parts = path.strip("/").split("/")
    return "/".join(":id" if part.startswith("{") else part for part in parts)


@pytest.fixture(scope="module")
def theirs(published: Schema) -> Contract:
    return Contract(published)


def differences(theirs: Contract, schema: Schema, ours: Any, at: str) -> Iterator[str]:
    """Where our form and the published one part."""
    schema = theirs.whole(schema)
    match ours:
        case Many():
            if (ours.least, ours.most) != (schema.get("minItems", 0), schema.get("maxItems")):
                yield f"{at}: {ours}"
            yield from differences(theirs, schema["items"], ours.form, f"{at}[]")
        case dict():
            yield from _properties(theirs, schema, ours, at)
        case _:
            if not _same(schema, ours, easier=at.rpartition(".")[2] in EASIER):
                yield f"{at}: {ours}"


def _same(schema: Schema, ours: Any, *, easier: bool) -> bool:
    match ours:
        case Text():
            limits = (schema.get("minLength", 0), schema.get("maxLength"), schema.get("pattern"))
            return schema["type"] == "string" and (
                easier or limits == (ours.least, ours.most, ours.pattern)
            )
        case Choice():
            return set(ours.values) == set(schema["enum"])
        case Url():
            return bool(schema.get("format") == "uri")
        case Flag():
            return bool(schema["type"] == "boolean")
        case _:
            # One of the published ones forgets to say that it is an object.
            return bool(schema.get("type", "object") == "object") and ours == Structure()


def _properties(theirs: Contract, schema: Schema, ours: Schema, at: str) -> Iterator[str]:
    plain = {name.rstrip("*"): form for name, form in ours.items()}
    required = {name.rstrip("*") for name in ours if name.endswith("*")}
    yield from (f"{at}.{name}" for name in plain.keys() ^ schema["properties"].keys())
    yield from (f"{at}.{name} required" for name in required ^ set(schema["required"]))
    for name in plain.keys() & schema["properties"].keys():
        yield from differences(theirs, schema["properties"][name], plain[name], f"{at}.{name}")


@pytest.mark.parametrize("call", FAKED)
def test_names_lengths_and_patterns_are_theirs(theirs: Contract, call: str) -> None:
    body = theirs.operations[call].get("requestBody", {})
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})

    assert list(differences(theirs, schema, FAKED[call], call)) == []


@pytest.mark.parametrize("call", [name for name in ENDPOINTS if NOT_IN_CONTRACT not in name])
def test_an_id_means_something_where_the_contract_has_one(theirs: Contract, call: str) -> None:
    names = {one["name"] for one in theirs.operations[call].get("parameters", [])}

    assert ENDPOINTS[call].keyed == ("PayPal-Request-Id" in names)
    assert ENDPOINTS[call].alone == ("409" in theirs.operations[call]["responses"])


class Watched(PayPal):
    """A caller that holds each good answer against the contract."""

    def __init__(self, known: PayPal, theirs: Contract) -> None:
        super().__init__(known.vendor, known.headers)
        self._theirs = theirs
        self.seen: set[str] = set()

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> Any:
        status, document = super().call(method, path, body, **headers)
        parts = path.partition("?")[0].strip("/").split("/")
        if len(parts) > 3:
            parts[3] = ":id"
        name = f"{method} {'/'.join(parts)}"
        assert status < 300, document
        schema = self._theirs.answers(name, status)
        assert schema is not None, name
        self._theirs.check(schema, document, name)
        self.seen.add(name)
        return status, document


def test_the_answers_are_theirs(theirs: Contract, state: State) -> None:
    watched = Watched(connected(state), theirs)
    money = {"amount": {"currency_code": "USD", "value": "1.00"}}

    full = unit(description="d", invoice_id="i-1", soft_descriptor="s", reference_id="r")
    _, asked = watched.post(ORDERS, order(purchase_units=[full], **ASKING), key="k-1")
    watched.get(f"{ORDERS}/{asked['id']}")
    watched.do("approve", order=asked["id"])
    _, done = watched.post(f"{ORDERS}/{asked['id']}/capture", None, "k-2")
    watched.post(f"{ORDERS}/{asked['id']}/capture", None, "k-2")
    watched.call("POST", ORDERS, order(), prefer=None)
    capture = done["purchase_units"][0]["payments"]["captures"][0]["id"]
    refund = {"custom_id": "r-1", "invoice_id": "i-2", "note_to_payer": "n"}
    _, back = watched.post(f"{PAYMENTS}/captures/{capture}/refund", money | refund, "k-3")
    watched.get(f"{PAYMENTS}/captures/{capture}")
    watched.get(f"{PAYMENTS}/refunds/{back['id']}")
    for token in ("vault_pending", "vault_bounces"):
        watched.post(ORDERS, vaulted(token), key=f"k-{token}")
        watched.post(ORDERS, vaulted(token, intent="AUTHORIZE"), key=f"a-{token}")
    _, made = watched.post(ORDERS, order(intent="AUTHORIZE"))
    _, held = watched.post(f"{ORDERS}/{made['id']}/authorize", source())
    authorization = held["purchase_units"][0]["payments"]["authorizations"][0]["id"]
    watched.post(f"{PAYMENTS}/authorizations/{authorization}/capture", money)
    watched.get(f"{PAYMENTS}/authorizations/{authorization}")
    watched.post(f"{PAYMENTS}/authorizations/{authorization}/void")
    watched.do("settings", pending_refunds=True)
    watched.do("dispute", capture=capture)
    watched.post(f"{PAYMENTS}/captures/{capture}/refund")
    watched.get(f"{ORDERS}/{asked['id']}")
    listed = watched.get("/v1/notifications/webhooks-events?page_size=3")
    watched.get(f"/v1/notifications/webhooks-events/{listed['events'][0]['id']}")

    assert watched.seen == {name for name in ENDPOINTS if NOT_IN_CONTRACT not in name}


def test_an_answer_with_a_wrong_name_or_value_would_be_seen(theirs: Contract) -> None:
    schema = theirs.answers("GET v2/payments/captures/:id", 200)
    assert schema is not None
    good = {"id": "1", "status": "COMPLETED", "amount": {"currency_code": "USD", "value": "1"}}

    theirs.check(schema, good, "")
    for change in ({"colour": 1}, {"status": "DONE"}, {"amount": {"value": "1"}}, {"id": 1}):
        with pytest.raises(AssertionError):
            theirs.check(schema, good | change, "")
