"""What /openapi.json says of bodies, results and errors, beside what the code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.app import create
from api.codes import CODES
from api.examples import EXAMPLES, MORE
from api.openapi import OF_WEBHOOKS
from api.problems import KINDS
from ferryman.requests import kinds
from models.engine import async_engine
from models.tables import CHARGE_STATUSES
from tests.api.conftest import NOWHERE

ROOT = Path(__file__).resolve().parents[2]
ERRORS = {"VendorError", "NotSent", "Unknown", "Unavailable", "Throttled", "Refused"}
ERRORS |= {"Misconfigured", "Refusal", "NotAll", "Unsyncable"}
ID = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"
JOB: dict[str, Any] = {
    "id": ID,
    "kind": "charge",
    "vendor": "stripe",
    "status": "succeeded",
    "reason": None,
    "priority": "normal",
    "attempts": 1,
    "run_at": "2030-01-31T12:00:00Z",
    "expires_at": None,
    "result": None,
    "error": None,
    "key": None,
    "batch_id": None,
    "created_at": "2030-01-31T12:00:00Z",
    "finished_at": None,
}
PAYMENT: dict[str, Any] = {
    "id": ID,
    "vendor": "paypal",
    "vendor_reference": None,
    "status": "requires_action",
    "amount": 1250,
    "currency": "eur",
    "customer": "user-42",
    "metadata": {},
    "created_at": "2030-01-31T12:00:00Z",
    "action_url": "https://vendor.test/agree",
}


@pytest.fixture(scope="module")
def document() -> Any:
    engine = async_engine(f"postgresql://{NOWHERE}/x", connections=1)
    return create(engine, broker_url=None, tokens=[]).openapi()


def check(document: Any, name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return Draft202012Validator(schema | {"components": document["components"]})


def test_every_kind_has_an_example_and_every_example_is_right(document: Any) -> None:
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    schema = Draft202012Validator(body["schema"] | {"components": document["components"]})
    assert set(EXAMPLES) == {kind for kind, made in kinds().items() if not made.internal}
    for name, example in (EXAMPLES | MORE).items():
        assert body["examples"][name]["value"] == example
        schema.validate(example)


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_a_job_of_each_kind(document: Any, kind: str) -> None:
    job = check(document, "Job")
    job.validate(JOB | {"kind": kind})
    assert not job.is_valid(JOB | {"kind": kind, "status": "done"})
    assert not job.is_valid(JOB | {"kind": "nothing"})


def test_the_result_of_a_charge(document: Any) -> None:
    job = check(document, "Job")
    job.validate(JOB | {"result": PAYMENT})
    for status in CHARGE_STATUSES:
        job.validate(JOB | {"result": PAYMENT | {"status": status, "refunded": 250}})
    assert not job.is_valid(JOB | {"result": PAYMENT | {"status": "paid"}})
    assert not job.is_valid(JOB | {"result": {}})


def test_an_error_has_one_of_the_codes(document: Any) -> None:
    job = check(document, "Job")
    error = {"code": "card_declined", "message": "the vendor refused", "type": "Refused"}
    job.validate(JOB | {"status": "failed", "error": error | {"status": 402}})
    assert not job.is_valid(JOB | {"error": error | {"code": "generic_decline"}})


def test_of_several_events_some_are_refused(document: Any) -> None:
    refused = {"place": 3, "field": "user", "code": "invalid_arguments", "message": "user: empty"}
    error = {"code": "refused", "message": "1 of 9", "type": "RefusedRecord", "taken": 8}
    result = {"id": JOB["id"], "vendor": "mixpanel", "events": 8, "refused": 1}
    found = JOB | {"kind": "track_event", "status": "failed", "result": result}
    job = check(document, "Job")
    job.validate(found | {"error": error | {"events": [refused]}})
    assert not job.is_valid(found | {"error": error | {"events": [{"place": "third"}]}})


def test_a_retried_job_may_warn(document: Any) -> None:
    check(document, "RetriedJob").validate(JOB | {"warning": None})
    assert not check(document, "RetriedJob").is_valid(JOB)


def test_the_codes_are_all_there_are() -> None:
    used = set(used_codes())
    assert {"card_declined", "charge_not_found", "timeout", "rate_limited", "expired"} <= used
    # A charge that is in another state than it should be: its status tells.
    used |= {f"charge_{status}" for status in CHARGE_STATUSES}
    assert used - set(CODES) == set()
    assert set(CODES) - used == set()


def test_the_guide_tells_of_every_code_and_every_problem() -> None:
    guide = (ROOT / "docs/http.md").read_text()
    assert [code for code in CODES if f"`{code}`" not in guide] == []
    kinds = KINDS.keys() - OF_WEBHOOKS
    assert [kind for kind in kinds if f"`/problems/{kind}`" not in guide] == []


def used_codes() -> Iterator[str]:
    for folder in ("adapters", "tasks", "worker"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield from codes_of(node)


def codes_of(node: ast.AST) -> Iterator[str]:
    """Wherever one is written down: in a call of an error, a table, a default, a document."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in ERRORS:
            yield from texts(*(one.value for one in keywords if one.arg == "code"))
            yield from texts(*(args[:1] if name == "Refusal" else ()))
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in ("code", "CODES"):
            yield from texts(*(value.values if isinstance(value, ast.Dict) else [value]))
        case (
            ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(value=str(word)))
            | ast.AnnAssign(target=ast.Name(id="default_code"), value=ast.Constant(value=str(word)))
        ):
            yield word
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code":
                    yield from texts(value)


def texts(*values: ast.expr) -> Iterator[str]:
    """The constants within, but for those that choose among them."""
    for value in values:
        match value:
            case ast.Constant(value=str(word)) if word:
                yield word
            case ast.IfExp(body=body, orelse=other):
                yield from texts(body, other)
            case ast.BoolOp(values=parts):
                yield from texts(*parts)
            case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):  # of CODES
                yield from texts(default)
