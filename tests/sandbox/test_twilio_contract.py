"""The fake's idea of a message against Twilio's published contract."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest

from sandbox.state import State
from sandbox.twilio import params
from sandbox.twilio.fake import ACCOUNT_SID, LIST
from sandbox.twilio.shapes import MESSAGES_KNOWN
from tests.sandbox.conftest import Direct, contract
from tests.sandbox.test_twilio import GIVEN, SERVICE

PATH = "/2010-04-01/Accounts/{AccountSid}/Messages.json"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return contract("twilio")


def resolved(published: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    return dict(published["components"]["schemas"][schema["$ref"].rpartition("/")[2]])


def form_of(published: dict[str, Any]) -> dict[str, dict[str, Any]]:
    body = published["paths"][PATH]["post"]["requestBody"]["content"]
    schema = body["application/x-www-form-urlencoded"]["schema"]
    return {name: resolved(published, one) for name, one in schema["properties"].items()}


def query_of(published: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = published["paths"][PATH]["get"]["parameters"]
    return {one["name"]: one["schema"] for one in found if one["in"] == "query"}


def test_names_are_theirs(published: dict[str, Any]) -> None:
    assert params.CREATE.keys() == form_of(published).keys()
    assert params.LIST.keys() == query_of(published).keys()
    assert re.fullmatch("AC[0-9a-fA-F]{32}", ACCOUNT_SID)


def fitting(schema: dict[str, Any]) -> list[str]:
    """Values that the contract takes."""
    if "enum" in schema:
        return list(schema["enum"])
    if "pattern" in schema:
        return [schema["pattern"][1:3] + "0f" * 16]
    if schema.get("type") == "integer":
        return [str(schema.get("minimum", 7)), str(schema.get("maximum", 7))]
    if schema.get("type") == "boolean":
        return ["true", "false"]
    if schema.get("type") == "number":
        return ["0.5"]
    formats = {"date-time": "2026-11-28T15:00:00Z", "phone-number": "+441632960961"}
    return [formats.get(schema.get("format", ""), "https://example.com/x?y=1")]


def wrong(schema: dict[str, Any]) -> list[str]:
    """Values that the contract does not take."""
    if "maximum" in schema:
        return [str(schema["maximum"] + 1), str(schema["minimum"] - 1), "x"]
    is_typed = "enum" in schema or "pattern" in schema or schema.get("format") == "date-time"
    return ["?"] if is_typed or schema.get("type") in ("integer", "boolean", "number") else []


def test_values_are_theirs(published: dict[str, Any]) -> None:
    for ours, theirs in (
        (params.CREATE, form_of(published)),
        (params.LIST, query_of(published)),
    ):
        for name, schema in theirs.items():
            assert all(ours[name](value) for value in fitting(schema)), name
            assert not any(ours[name](value) for value in wrong(schema)), name


def test_answers_are_theirs(published: dict[str, Any], direct_sms: Direct) -> None:
    schemas = published["components"]["schemas"]
    one = {"$ref": "#/components/schemas/api.v2010.account.message"}
    listed = published["paths"][PATH]["get"]["responses"]["200"]["content"]["application/json"]
    made = []
    for changes in ({}, {"To": "+441632960990"}, {"From": "", "MessagingServiceSid": SERVICE}):
        _, told = direct_sms.form("POST", LIST, {**GIVEN, **changes})
        made += [told, direct_sms.form("GET", told["uri"], {})[1]]
    _, page = direct_sms.form("GET", LIST, {"PageSize": 2})

    def check(schema: dict[str, Any], document: object) -> list[str]:
        rules = {**schema, "components": {"schemas": schemas}}
        return [error.message for error in _validator(rules).iter_errors(document)]

    assert {name for told in made for name in told} == schemas["api.v2010.account.message"][
        "properties"
    ].keys()
    assert [check(one, told) for told in made] == [[]] * len(made)
    assert check(listed["schema"], page) == []
    assert page.keys() == listed["schema"]["properties"].keys()
    assert check(one, {**made[0], "status": "flying"})


def _validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """OpenAPI 3.0 has its own word for what may be null."""

    def nullable(found: Any) -> Any:
        if isinstance(found, list):
            return [nullable(inner) for inner in found]
        if not isinstance(found, dict):
            return found
        inner = {name: nullable(value) for name, value in found.items()}
        may_be_null = inner.pop("nullable", False) is True
        return {"anyOf": [inner, {"type": "null"}]} if may_be_null else inner

    return jsonschema.Draft202012Validator(nullable(schema))


def test_every_ending_has_its_words(state: State) -> None:
    from sandbox.twilio.account import ENDED, ENDINGS

    codes = {code for _, code in ENDINGS.values() if code is not None}
    assert codes <= MESSAGES_KNOWN.keys()
    assert all(steps[-1] in (*ENDED, "sent") for steps, _ in ENDINGS.values() if steps)
