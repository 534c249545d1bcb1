"""What `/openapi.json` says beyond the routes: a body and an example a kind, and the problems."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import schemas
from api.problems import KINDS, MEDIA_TYPE
from ferryman import requests

Row = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
BODIES = (schemas.Note, schemas.OptionalNote, schemas.Resolution, schemas.Replay)
ASKABLE = {kind: made for kind, made in requests.kinds().items() if not made.internal}

EXAMPLES: dict[str, Row] = {
    "charge": {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "usd",
            "payment_method": "pm_card_visa",
        },
        "key": "order-1042",
    },
    "refund": {
        "kind": "refund",
        "args": {"charge": "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901", "amount": 250},
        "key": "return-77",
    },
    "send_email": {
        "kind": "send_email",
        "args": {
            "to": "ada@example.com",
            "subject": "Your order",
            "text": "It is on its way.",
        },
        "expires_at": "2030-01-31T12:00:00Z",
    },
    "bulk_email": {
        "kind": "bulk_email",
        "args": {
            "recipients": [
                {"to": "ada@example.com", "data": {"name": "Ada"}},
                {"to": "grace@example.com", "data": {"name": "Grace"}},
            ],
            "subject": "News",
            "text": "Hello {{ name }}",
        },
        "key": "news-2030-01",
    },
    "sync_objects": {
        "kind": "sync_objects",
        "args": {"source": "file:///srv/photos", "destination": "s3://backup/photos"},
    },
}


def responses(*statuses: int) -> dict[int | str, Row]:
    """The problems that a route may answer with, for its `responses`."""
    titles: dict[int, list[str]] = {}
    for status, title in KINDS.values():
        titles.setdefault(status, []).append(title)
    return {
        status: {"model": schemas.ProblemDocument, "description": "; or: ".join(titles[status])}
        for status in statuses
    }


def new_job() -> Row:
    """The body of `POST /v1/jobs`, which is read by hand and not by the framework."""
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the job's `key`, where the body has none",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    examples = {kind: {"value": example} for kind, example in EXAMPLES.items()}
    of_kind = {kind: _reference(f"New{made.__name__}") for kind, made in ASKABLE.items()}
    schema = {
        "oneOf": [{"$ref": reference} for reference in of_kind.values()],
        "discriminator": {"propertyName": "kind", "mapping": of_kind},
    }
    return {"parameters": [header], "requestBody": _body(schema, examples=examples)}


def note() -> Row:
    """The body of pausing and resuming a vendor."""
    return body("Note", {"note": "their incident 4711"})


def body(model: str, example: Row, *, required: bool = True) -> Row:
    """The body of a route that reads it by hand. `model` is one of BODIES."""
    made = _body({"$ref": _reference(model)}, example=example)
    return {"requestBody": made | {"required": required}}


def _reference(name: str) -> str:
    return REFERENCE.format(model=name)


def _body(schema: Row, **examples: Any) -> Row:
    return {"required": True, "content": {"application/json": {"schema": schema, **examples}}}


def complete(document: Row) -> Row:
    """Add the bodies, the bearer token, and the media type of problems."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_bodies())
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            _name_problems(operation["responses"])
    return document


def _bodies() -> Row:
    """A new job's schema for each kind, with the arguments of that kind."""
    models: list[type[BaseModel]] = [schemas.NewJob, *BODIES, *ASKABLE.values()]
    _, made = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCE
    )
    bodies: Row = made["$defs"]
    general = bodies.pop("NewJob")
    for kind, model in ASKABLE.items():
        own = {"kind": {"const": kind}, "args": {"$ref": _reference(model.__name__)}}
        bodies[f"New{model.__name__}"] = general | {
            "title": f"New {kind}",
            "properties": general["properties"] | own,
        }
    return bodies


def _name_problems(answers: Row) -> None:
    for status, answer in answers.items():
        if int(status) >= 400:
            _, content = answer["content"].popitem()
            answer["content"] = {MEDIA_TYPE: content}
