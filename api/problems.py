"""What an error looks like: an RFC 9457 problem document that names the field, never a value."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("ferryman.api")

MEDIA_TYPE = "application/problem+json"

# Each kind of problem, its status and its title; the kind is the end of the document's `type`.
KINDS: dict[str, tuple[int, str]] = {
    "malformed-json": (400, "The body is not JSON"),
    "forged": (400, "The webhook is not known to be the vendor's"),
    "no-event": (400, "The webhook is no event that can be kept"),
    "unauthorized": (401, "A bearer token is needed"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "That method does not work here"),
    "too-slow": (408, "The body took too long to come"),
    "key-conflict": (409, "The key already names a job with other arguments"),
    "key-in-flight": (409, "The key stands in an open transaction"),
    "not-possible": (409, "The job's state does not allow that"),
    "job-removed": (410, "The job has ended and was removed"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be application/json"),
    "wrong-host": (421, "The request names another host"),
    "invalid-arguments": (422, "An argument is not acceptable"),
    "too-many-requests": (429, "The token has made too many requests"),
    "internal-error": (500, "Something went wrong in ferryman"),
    "ledger-down": (503, "The ledger does not answer"),
    "unverifiable": (503, "The webhook cannot be verified now"),
    "busy": (503, "More comes in than can be held"),
}
BY_STATUS = {404: "not-found", 405: "method-not-allowed"}

# Pydantic's words for what is wrong may quote the input; these never do.
MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "dict_type": "must be a JSON object",
    "literal_error": "must be {expected}",
    "bool_type": "must be true or false",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}
LONGEST_NAME = 100

Field = Mapping[str, str]


class Problem(Exception):
    """An answer that is an error. `kind` is one of KINDS; `errors` has one entry a field."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[Field] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.detail = detail
        self.field = field
        self.errors = errors
        self.headers = headers

    def response(self) -> JSONResponse:
        document: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            document["field"] = self.field
        if self.errors:
            document["errors"] = list(self.errors)
        return _json(document, self.status, self.headers)


def invalid(field: str, message: str) -> Problem:
    """A 422 about one field."""
    return invalid_fields([{"field": field, "message": message}])


def invalid_fields(errors: Sequence[Field]) -> Problem:
    """A 422 about one or more fields; `field` and `detail` tell of the first."""
    first = errors[0]
    detail = f"{first['field']}: {first['message']}"
    return Problem("invalid-arguments", detail, field=first["field"], errors=errors)


def unacceptable(error: ValidationError | RequestValidationError, *, skip: int = 0) -> Problem:
    """Pydantic's complaints as a 422; `skip` leaves out the first words of each place."""
    return invalid_fields([_complaint(found, skip) for found in error.errors()])


def _complaint(found: Mapping[str, Any], skip: int) -> Field:
    name = ".".join(str(part) for part in found["loc"][skip:])[:LONGEST_NAME]
    message = MESSAGES.get(found["type"], "is not valid").format(**found.get("ctx", {}))
    return {"field": name, "message": message}


def _json(
    document: Mapping[str, Any], status: int, headers: Mapping[str, str] | None
) -> JSONResponse:
    return JSONResponse(document, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


class Catcher:
    """The outermost layer: a surprise becomes a 500, and the log gets its place, not its text,
    since the text of a database's error may quote what was to be stored."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http":
                raise
            _log.error("%s in %s:\n%s", type(error).__name__, _route(scope), _place(error))
            if started:
                raise RuntimeError("the answer broke off, see the line above") from None
            problem = Problem("internal-error", "The log of the API tells where.")
            await problem.response()(scope, receive, send)


def _route(scope: Scope) -> str:
    return f"{scope['method']} {getattr(scope.get('route'), 'path', 'an unknown route')}"


def _place(error: BaseException) -> str:
    return "".join(_frames(error)).rstrip()


def _frames(error: BaseException) -> Iterable[str]:
    yield from traceback.format_tb(error.__traceback__)
    if error.__cause__ is not None:
        yield f"caused by {type(error.__cause__).__name__}:\n"
        yield from _frames(error.__cause__)


def install(app: FastAPI) -> None:
    """Make every error of the framework a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _bad_parameter)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if kind := BY_STATUS.get(error.status_code):
        detail = "See /openapi.json for what there is."
        headers = error.headers if kind == "not-found" else _allowed(request) or error.headers
        return Problem(kind, detail, headers=headers).response()
    title = HTTPStatus(error.status_code).phrase
    document = {"type": "about:blank", "title": title, "status": error.status_code, "detail": title}
    return _json(document, error.status_code, error.headers)


def _allowed(request: Request) -> dict[str, str] | None:
    """All methods that the document tells of for a path; the framework knows those of one route."""
    paths: dict[str, Any] = request.app.openapi()["paths"]
    # A path that is spelled out comes before one with a parameter.
    for template in sorted(paths, key=lambda path: "{" in path):
        if compile_path(template)[0].match(request.url.path):
            return {"Allow": ", ".join(sorted(method.upper() for method in paths[template]))}
    return None


async def _bad_parameter(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # The first word of a place says "query" or "path".
    return unacceptable(error, skip=1).response()
