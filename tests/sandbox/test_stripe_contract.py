"""The fake's parameters against Stripe's own contract: the same names, types and lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from stripe._request_options import RequestOptions
from stripe.params import DisputeListParams, DisputeRetrieveParams

from sandbox.stripe.errors import Refused
from sandbox.stripe.params import check, decode
from sandbox.stripe.routes import ENDPOINTS, Endpoint
from tests.sandbox.conftest import contract

FORM = "application/x-www-form-urlencoded"
# The trimmed contract has no disputes: the SDK's own types stand in.
DISPUTES = {"GET disputes": DisputeListParams, "GET disputes/:id": DisputeRetrieveParams}
CONTRACTED = [call for call in ENDPOINTS if call not in DISPUTES]
SAMPLES = {"currency": "usd", "email": "a@example.com"}


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, Any]]:
    """Stripe's schema of each call, by `GET payment_intents/:id`."""
    found = {}
    for path, operations in contract("stripe")["paths"].items():
        for method, operation in operations.items():
            name = re.sub(r"\{\w+\}", ":id", path.removeprefix("/v1/"))
            found[f"{method.upper()} {name}"] = _schema(operation)
    return found


def _schema(operation: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in operation:
        return dict(operation["x-query"])
    return dict(operation["requestBody"]["content"][FORM]["schema"])


SCALARS = {"integer": "100", "boolean": "true", "string": "some text"}


def sample(schema: dict[str, Any]) -> Any:
    """A value of the kind, as a form decodes to it."""
    if "anyOf" in schema:
        return sample(schema["anyOf"][-1])
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "array":
        return {"0": sample(schema["items"])}
    if schema["type"] == "object":
        properties = schema.get("properties", {})
        chosen = schema.get("required") or list(properties)[:1]
        return {name: sample(properties[name]) for name in chosen}
    return SCALARS[schema["type"]]


def kinds(schema: dict[str, Any]) -> set[str]:
    alternatives = schema.get("anyOf", [schema])
    return {one["type"] for one in alternatives if one.get("enum") != [""]}


def refusal(ours: Endpoint, name: str, raw: Any) -> Refused | None:
    try:
        check(ours.schema, (), {name: raw})
    except Refused as refused:
        return refused
    return None


def parameters(theirs: dict[str, dict[str, Any]]) -> Iterator[tuple[Endpoint, str, dict[str, Any]]]:
    for call in CONTRACTED:
        for name, schema in theirs[call]["properties"].items():
            yield ENDPOINTS[call], name, schema


@pytest.mark.parametrize("call", CONTRACTED)
def test_names_are_theirs(theirs: dict[str, dict[str, Any]], call: str) -> None:
    assert set(ENDPOINTS[call].schema) == set(theirs[call]["properties"])
    assert set(ENDPOINTS[call].required) == set(theirs[call].get("required", []))


@pytest.mark.parametrize("call", DISPUTES)
def test_names_of_disputes_are_those_of_the_sdk(call: str) -> None:
    theirs = DISPUTES[call].__annotations__.keys() - RequestOptions.__annotations__.keys()

    assert set(ENDPOINTS[call].schema) == theirs


def test_what_the_contract_takes_the_fake_takes(theirs: dict[str, dict[str, Any]]) -> None:
    for ours, name, schema in parameters(theirs):
        assert refusal(ours, name, SAMPLES.get(name, sample(schema))) is None, name


def test_another_type_is_refused_by_name(theirs: dict[str, dict[str, Any]]) -> None:
    wrong = {"integer": "1.5", "boolean": "yes", "array": "text", "object": "text", "string": {}}
    tried = 0
    for ours, name, schema in parameters(theirs):
        kind = kinds(schema)
        for one in kind - {"boolean"} if "string" in kind else kind:
            if len(kind) > 1 and one != "object":
                continue
            refused = refusal(ours, name, wrong[one])
            assert refused is not None, f"{name} as {wrong[one]!r}"
            assert refused.error["param"].startswith(name)
            tried += 1
    assert tried > 100


def test_longer_texts_than_the_contract_has_are_refused(theirs: dict[str, dict[str, Any]]) -> None:
    tried = 0
    for ours, name, schema in parameters(theirs):
        if longest := schema.get("maxLength"):
            assert refusal(ours, name, "x" * longest) is None, name
            assert refusal(ours, name, "x" * (longest + 1)) is not None, name
            tried += 1
    assert tried > 20


def test_an_empty_value_unsets_only_what_the_contract_lets(
    theirs: dict[str, dict[str, Any]],
) -> None:
    for ours, name, schema in parameters(theirs):
        unsettable = any(one.get("enum") == [""] for one in schema.get("anyOf", []))
        assert (refusal(ours, name, "") is None) == unsettable, name


def test_brackets_nest() -> None:
    form = [
        ("a[b][c]", "1"),
        ("a[b][d]", "2"),
        ("l[1]", "y"),
        ("l[0]", "x"),
        ("m[]", "p"),
        ("m[]", "q"),
    ]

    assert decode(form) == {
        "a": {"b": {"c": "1", "d": "2"}},
        "l": {"1": "y", "0": "x"},
        "m": {"0": "p", "1": "q"},
    }


@pytest.mark.parametrize("form", [[("a", "1"), ("a[b]", "2")], [("a[b]", "1"), ("a[b][c]", "2")]])
def test_a_value_is_no_object(form: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused):
        decode(form)
