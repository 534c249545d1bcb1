"""How a request's body becomes a JSON object: bounded, strict, and nothing silently changed."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.problems import Problem, unacceptable

MOST_BYTES = 1_048_576
MOST_DIGITS = 4_000

Row = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises Problem: 400, 413, 415 or 422."""
    _check_type(request)
    document = parse(await _bytes(request))
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise unacceptable(error) from None


async def read_if_any(request: Request, model: type[Model]) -> Model:
    """The same; a request without a body is one with an empty object."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return model.model_validate({})
    return await read(request, model)


def _check_type(request: Request) -> None:
    """Only JSON, as a browser sends it to another site with that site's consent only."""
    media, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem("unsupported-media-type", "Send `Content-Type: application/json`.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "Send the body without a Content-Encoding.")


async def _bytes(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MOST_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    # What is still on its way is not read, so the connection cannot be used again.
    return Problem(
        "too-large", f"At most {MOST_BYTES} bytes are taken.", headers={"Connection": "close"}
    )


def parse(body: bytes) -> Row:
    """A JSON object. Raises Problem 400 where reading it would guess or lose something."""
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise _malformed("It is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"Line {error.lineno}, column {error.colno} cannot be read.") from None
    except UnicodeDecodeError:
        raise _malformed("It is not UTF-8.") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if not isinstance(document, dict):
        raise _malformed("It must be a JSON object.")
    return document


def _malformed(detail: str) -> Problem:
    return Problem("malformed-json", detail)


def _object(pairs: list[tuple[str, Any]]) -> Row:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("A name stands twice in the same object.")
    return made


def _whole(digits: str) -> int:
    # Python itself refuses to read longer ones, in words that suit no client.
    if len(digits) > MOST_DIGITS:
        raise ValueError("A number has too many digits.")
    return int(digits)


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON.")
