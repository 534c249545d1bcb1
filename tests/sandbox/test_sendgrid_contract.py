"""The fake's idea of a mail against SendGrid's published contract."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.sendgrid.shape import MAIL, Values
from tests.sandbox.conftest import contract

TYPES = {"string": str, "integer": int, "boolean": bool}
# The contract types this one as a string; in truth it is an object of strings.
OBJECT_IN_TRUTH = "custom_args"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return contract("sendgrid")


def resolved(published: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    return dict(published["components"]["schemas"][schema["$ref"].rpartition("/")[2]])


def differences(published: dict[str, Any], schema: dict[str, Any], ours: Any, at: str) -> list[str]:
    """Where our form and the published one part."""
    schema = resolved(published, schema)
    match ours:
        case list():
            return differences(published, schema["items"], ours[0], f"{at}[]")
        case Values():
            return [] if schema["type"] == "object" or at == OBJECT_IN_TRUTH else [at]
        case dict():
            return _properties(published, schema, ours, at)
        case _:
            return [] if TYPES[schema["type"]] is ours else [at]


def _properties(
    published: dict[str, Any], schema: dict[str, Any], ours: dict[str, Any], at: str
) -> list[str]:
    theirs = schema["properties"]
    plain = {name.rstrip("*"): form for name, form in ours.items()}
    required = {name.rstrip("*") for name in ours if name.endswith("*")}
    found = [f"{at}.{name}" for name in plain.keys() ^ theirs.keys()]
    found += [f"{at}.{name} required" for name in required ^ set(schema.get("required", []))]
    for name in plain.keys() & theirs.keys():
        found += differences(published, theirs[name], plain[name], f"{at}.{name}".lstrip("."))
    return found


def test_names_types_and_required_fields_are_theirs(published: dict[str, Any]) -> None:
    operation = published["paths"]["/v3/mail/send"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert differences(published, schema, MAIL, "") == []
    assert {"202", "400", "401", "413"} <= operation["responses"].keys()
