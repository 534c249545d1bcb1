"""`POST /webhooks/{vendor}`: read, taken by the vendor's door, answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NoReturn

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api import openapi, schemas
from api.body import MOST_BYTES
from api.doors import Doors
from api.ledger import AGAIN
from api.problems import Catcher, Problem

router = APIRouter(tags=["webhooks"])

PREFIX = "/webhooks/"
READ_SECONDS = 10.0
# Of all bodies that are still coming: strangers may begin any number of them.
MOST_HELD_BYTES = 64 * MOST_BYTES
MOST_DROPPED_BYTES = 8 * MOST_BYTES
DROP_SECONDS = 1.0
MEDIA_TYPES = ("", "application/json", "application/x-www-form-urlencoded")
# What is still on its way is not read, so the connection cannot be used again.
CLOSE = {"Connection": "close"}

Headers = dict[str, str]


@router.post(
    "/webhooks/{vendor}",
    response_model=schemas.Taken,
    summary="Tell what happened, as a vendor",
    responses=openapi.responses(400, 404, 408, 413, 415, 503),
    openapi_extra=openapi.webhook(),
)
async def documented() -> NoReturn:
    """For the vendors, who sign it: that is their credential, and no token is needed. What is new
    is stored before the answer; what is known already is not stored again. 404 where the secret
    that verifies it is not set: `degraded` of /readyz names those vendors."""
    raise AssertionError("Webhooks answers before the routes do")


def is_one(scope: Scope) -> bool:
    """Whether a request is a webhook."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path.startswith(PREFIX)


class Webhooks:
    """Answers webhooks, and nothing else: past the gate, since who signs needs no token and may
    call by any name, that of a tunnel, say; and past the framework, whose layers would take longer
    than all the rest."""

    def __init__(self, doors: Doors) -> None:
        self._caught = Catcher(self._answer)
        self._doors = doors
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._caught(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            adapter = self._doors.open(scope["path"].removeprefix(PREFIX))
            headers = _headers(scope)
            _check(headers)
            body = await self._body(receive)
            taken = await self._doors.take(adapter, headers, body, _called(scope))
        except Problem as problem:
            if problem.kind == "too-large":
                await _drop(scope, receive)
            await problem.response()(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await _ok(send, orjson.dumps(taken))

    async def _body(self, receive: Receive) -> bytes:
        """Raises Problem (408, 413, 503) and ClientDisconnect."""
        body = bytearray()
        try:
            # Who sends nothing at all costs nothing but his connection.
            if await self._more(receive, body):
                async with asyncio.timeout(READ_SECONDS):
                    while await self._more(receive, body):
                        pass
        except TimeoutError:
            raise Problem("too-slow", "Send it faster, or in parts.", headers=CLOSE) from None
        finally:
            self._held -= len(body)
        return bytes(body)

    async def _more(self, receive: Receive, body: bytearray) -> bool:
        """Read a piece; whether there are more."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        body += piece
        self._held += len(piece)
        if len(body) > MOST_BYTES:
            raise _too_large()
        if self._held > MOST_HELD_BYTES:
            raise Problem("busy", "Many webhooks are coming in.", headers=CLOSE | AGAIN)
        return bool(message.get("more_body"))


def _headers(scope: Scope) -> Headers:
    """By lower-case name; of one that comes twice, both values."""
    found: Headers = {}
    for raw, value in scope["headers"]:
        name, text = str(raw, "latin-1"), str(value, "latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _check(headers: Headers) -> None:
    """Raises Problem (413, 415)."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > MOST_BYTES:
        raise _too_large()
    media, _, _ = headers.get("content-type", "").partition(";")
    if media.strip().lower() not in MEDIA_TYPES:
        raise Problem("unsupported-media-type", "No vendor sends webhooks of that Content-Type.")


def _too_large() -> Problem:
    return Problem("too-large", f"At most {MOST_BYTES} bytes are taken.", headers=CLOSE)


async def _drop(scope: Scope, receive: Receive) -> None:
    """Read on for a while: a connection that ends while much is still on its way is reset, and the
    answer is lost with it."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    dropped = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DROP_SECONDS):
            while dropped < MOST_DROPPED_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _called(scope: Scope) -> str:
    """The path that was called, and its query, as they were sent."""
    path, query = scope["raw_path"], scope["query_string"]
    return str(path + b"?" + query if query else path, "latin-1")


async def _ok(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
