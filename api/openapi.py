"""What `/openapi.json` says beyond the routes: bodies, examples and results of each kind, and the
problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import batch_schemas, schemas, state_schemas
from api.examples import EXAMPLES, MORE
from api.problems import KINDS, MEDIA_TYPE
from api.results import RESULTS, JobError
from ferryman import requests

Row = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
BODIES = (
    schemas.Note,
    schemas.OptionalNote,
    schemas.Resolution,
    schemas.Replay,
    schemas.PollEvents,
    batch_schemas.NewSuppression,
    state_schemas.JobIds,
)
ASKABLE = {kind: made for kind, made in requests.kinds().items() if not made.internal}
OF_WEBHOOKS = frozenset({"forged", "no-event", "too-slow", "unverifiable", "busy"})
OTHERS = sorted(requests.kinds().keys() - ASKABLE.keys())
RETRY_AFTER: Row = {
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
}


def responses(*statuses: int) -> dict[int | str, Row]:
    """The problems that a route may answer with, for its `responses`."""
    return {
        status: {"model": schemas.ProblemDocument, "description": _titles(status, OF_WEBHOOKS)}
        for status in statuses
    }


def _titles(status: int, but: frozenset[str] = frozenset()) -> str:
    """What a status may mean, without some kinds of problems unless there are no others."""
    titles = {kind: title for kind, (its, title) in KINDS.items() if its == status}
    return "; or: ".join([titles[kind] for kind in titles if kind not in but] or titles.values())


def new_job() -> Row:
    """The body of `POST /v1/jobs`, which is read by hand and not by the framework."""
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the job's `key`, where the body has none",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    examples = {name: {"value": example} for name, example in (EXAMPLES | MORE).items()}
    schema = _one_of({kind: f"New{made.__name__}" for kind, made in ASKABLE.items()})
    return {"parameters": [header], "requestBody": _body(schema, examples=examples)}


def note() -> Row:
    """The body of pausing and resuming a vendor."""
    return body("Note", {"note": "their incident 4711"})


def webhook() -> Row:
    """The parameter, the body and the credential of a route that vendors call."""
    vendor = {"name": "vendor", "in": "path", "required": True, "schema": {"type": "string"}}
    types = ("application/json", "application/x-www-form-urlencoded")
    content: Row = {media: {"schema": {}} for media in types}
    return {
        "parameters": [vendor | {"description": "the vendor's name"}],
        "requestBody": {"required": True, "content": content},
        "security": [],
    }


def body(model: str, example: Row, *, required: bool = True) -> Row:
    """The body of a route that reads it by hand. `model` is one of BODIES."""
    made = _body({"$ref": _reference(model)}, example=example)
    return {"requestBody": made | {"required": required}}


def _reference(name: str) -> str:
    return REFERENCE.format(model=name)


def _body(schema: Row, **examples: Any) -> Row:
    return {"required": True, "content": {"application/json": {"schema": schema, **examples}}}


def complete(document: Row) -> Row:
    """Add the bodies, the jobs by kind, the bearer token, and what is to be said of problems."""
    components = document.setdefault("components", {})
    made = components.setdefault("schemas", {})
    made.update(_models(schemas.NewJob, *BODIES, *ASKABLE.values(), JobError, *RESULTS.values()))
    made.update(_new_jobs(made.pop("NewJob")))
    made.update(_jobs(made["Job"]))
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                operation["responses"]["429"] = _problem(429)
            _name_problems(operation["responses"], of_webhooks=path.startswith("/webhooks"))
    return document


def _models(*models: type[BaseModel]) -> Row:
    _, made = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCE
    )
    found: Row = made["$defs"]
    return found


def _new_jobs(general: Row) -> Row:
    """A new job's schema for each kind, with the arguments of that kind."""
    return {
        f"New{model.__name__}": _of_kind(
            general, f"New {kind}", {"const": kind}, args={"$ref": _reference(model.__name__)}
        )
        for kind, model in ASKABLE.items()
    }


def _jobs(general: Row) -> Row:
    """A job's schema for each kind, with the result of that kind."""
    names = {kind: f"{model.__name__}Job" for kind, model in ASKABLE.items()}
    found = {
        name: _of_kind(general, f"Job: {kind}", {"const": kind}, result=_or_null(RESULTS[kind]))
        for kind, name in names.items()
    }
    found["OtherJob"] = _of_kind(general, "Job of ferryman's own", {"enum": OTHERS})
    every = names | dict.fromkeys(OTHERS, "OtherJob")
    return {**found, "Job": {"title": "Job", **_one_of(every)}, **_retried(general)}


def _retried(general: Row) -> Row:
    warning = {"type": ["string", "null"], "description": "what may go wrong with that"}
    also = {"type": "object", "properties": {"warning": warning}, "required": ["warning"]}
    return {"RetriedJob": {"title": "Retried job", "allOf": [{"$ref": _reference("Job")}, also]}}


def _of_kind(general: Row, title: str, kind: Row, **own: Row) -> Row:
    """The schema of one kind, out of that of all; its description stands there once."""
    properties = general["properties"] | {"kind": {"type": "string", **kind}} | own
    return general | {"title": title, "properties": properties}


def _one_of(names: Mapping[str, str]) -> Row:
    """Whichever the kind says."""
    mapping = {kind: _reference(name) for kind, name in names.items()}
    one_of = [{"$ref": reference} for reference in dict.fromkeys(mapping.values())]
    return {"oneOf": one_of, "discriminator": {"propertyName": "kind", "mapping": mapping}}


def _or_null(model: type[BaseModel]) -> Row:
    return {"anyOf": [{"$ref": _reference(model.__name__)}, {"type": "null"}]}


def _problem(status: int) -> Row:
    """A problem as the framework would have written it."""
    content = {"application/json": {"schema": {"$ref": _reference("ProblemDocument")}}}
    return {"description": _titles(status), "content": content}


def _name_problems(answers: Row, *, of_webhooks: bool) -> None:
    for status, answer in answers.items():
        if int(status) >= 400:
            _, content = answer["content"].popitem()
            answer["content"] = {MEDIA_TYPE: content}
            if of_webhooks:
                answer["description"] = _titles(int(status))
        if status in ("429", "503"):
            answer["headers"] = RETRY_AFTER
