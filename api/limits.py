"""How many requests a token may make: FERRYMAN_API_RATE a second, as this process counts them."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import Problem

PREFIX = "/v1/"
# Without tokens all who ask are one.
MACHINE = "this machine"


class Limits:
    """Stands behind the gate, so that nobody's rate is used up by a wrong token. In no second, from
    wherever it is counted, are more requests let through than the rate."""

    def __init__(self, app: ASGIApp, rate: float, *, by_token: bool) -> None:
        self._app = app
        self._by_token = by_token
        self._limit = _limit(rate)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if problem := self._refusal(scope):
            await problem.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            return None
        whose = self._whose(scope)
        if self._window.hit(self._limit, whose):
            return None
        reset_at, _ = self._window.get_window_stats(self._limit, whose)
        seconds = max(1, math.ceil(reset_at - time.time()))
        detail = f"At most {self._limit.amount} requests are taken in {_span(self._limit)}."
        return Problem("too-many-requests", detail, headers={"Retry-After": str(seconds)})

    def _whose(self, scope: Scope) -> str:
        if not self._by_token:
            return MACHINE
        # The gate has let it in, so there is one.
        _, _, token = Headers(scope=scope)["authorization"].partition(" ")
        return token.strip()


def _limit(rate: float) -> RateLimitItem:
    """The rate in whole numbers: less than one a second is one in several seconds."""
    if rate >= 1:
        return RateLimitItemPerSecond(int(rate))
    return RateLimitItemPerSecond(1, math.ceil(1 / rate))


def _span(limit: RateLimitItem) -> str:
    seconds = limit.get_expiry()
    return "a second" if seconds == 1 else f"{seconds} seconds"
