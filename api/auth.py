"""Who may ask: holders of a token, or, where none is set, this machine by a loopback name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import Problem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?", re.IGNORECASE)
CHALLENGE = 'Bearer realm="ferryman"'


class Gate:
    """Stands before every route but that of webhooks, which are signed. Tokens are compared in
    constant time."""

    def __init__(self, app: ASGIApp, tokens: Iterable[str]) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._refusal(scope)):
            await problem.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if not self._tokens:
            origin = headers.get("origin")
            # A page of another site can send a POST without a body anywhere.
            elsewhere = None if origin is None else wrong_host(urlsplit(origin).netloc)
            return wrong_host(headers.get("host")) or elsewhere
        if scope["path"] in OPEN_PATHS:
            return None
        return self._wrong_token(headers.getlist("authorization"))

    def _wrong_token(self, given: Sequence[str]) -> Problem | None:
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            return _unauthorized("Send the header `Authorization: Bearer <token>`.", CHALLENGE)
        candidate = token.strip().encode("latin-1")
        # A sum, so that all are compared, whichever fits.
        if sum(compare_digest(candidate, known) for known in self._tokens):
            return None
        return _unauthorized("The token is not accepted.", f'{CHALLENGE}, error="invalid_token"')


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


def wrong_host(given: str | None) -> Problem | None:
    """A page of another site that had its name point to this machine sends its own name."""
    found = HOST.fullmatch(given or "")
    if found and is_loopback(found[1].strip("[]")):
        return None
    return Problem("wrong-host", "Without FERRYMAN_API_TOKEN the API is there for localhost only.")


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
