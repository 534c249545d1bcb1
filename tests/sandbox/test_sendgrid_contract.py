"""The fake's idea of a mail, and its suppression lists, against SendGrid's published contract."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from sandbox.sendgrid.lists import SHOWN
from sandbox.sendgrid.shape import MAIL, Values
from tests.sandbox.conftest import Direct, contract

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


def answered(published: dict[str, Any], path: str, method: str, status: int) -> Any:
    """The schema of an answer, None where it has no body; fails where there is no such answer."""
    answer = published["paths"][path][method]["responses"][str(status)]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    return schema and schema | {"components": published["components"]}


@pytest.mark.parametrize("name", SHOWN)
def test_the_lists_answer_as_theirs_do(
    published: dict[str, Any], direct_mail: Direct, name: str
) -> None:
    path = f"/v3/suppression/{name}"
    direct_mail.vendor.dashboard("suppress", {"list": name, "email": "a@b.de", "reason": "no"})

    for asked in (path, f"{path}/{{email}}"):
        if asked not in published["paths"]:
            continue
        answer = direct_mail.ask("GET", asked.format(email="a@b.de"))
        shown = json.loads(answer.body)
        schema = answered(published, asked, "get", answer.status)
        jsonschema.validate(shown, schema)
        # Their schemas allow anything more, which nobody may rely on.
        items = resolved(published, resolved(published, schema)["items"])
        assert set(shown[0]) == set(items["properties"])
        if "delete" in published["paths"][asked]:
            gone = direct_mail.ask("DELETE", asked.format(email="a@b.de"), '{"delete_all": true}')
            answered(published, asked, "delete", gone.status)
            direct_mail.vendor.dashboard("suppress", {"list": name, "email": "a@b.de"})


@pytest.mark.parametrize("name", SHOWN)
def test_the_lists_know_their_parameters(
    published: dict[str, Any], direct_mail: Direct, name: str
) -> None:
    path = f"/v3/suppression/{name}"
    known = {
        parameter["name"]: parameter["schema"]
        for parameter in published["paths"][path]["get"]["parameters"]
        if parameter["in"] == "query"
    }

    assert known.keys() == {"limit", "offset", "start_time", "end_time", "email"}
    most = known["limit"]["maximum"]
    assert direct_mail.ask("GET", path, f"limit={most}").status == 200
    assert direct_mail.ask("GET", path, f"limit={most + 1}").status == 400
