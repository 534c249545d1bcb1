"""The one transport to all vendors: httpx on aiohttp, one long-lived client a vendor.

It marks each write in the ledger before it leaves, keeps every exchange redacted, and turns
what can go wrong on the way into the errors of `_base.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Protocol, cast
from uuid import UUID

import aiohttp
import httpx
import orjson
from uuid_utils.compat import uuid7

from adapters import _redact
from adapters._base import (
    Misconfigured,
    NotSent,
    Repeat,
    Request,
    Response,
    Row,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
    adapter,
)
from adapters._limits import Gate, Pace, Unpaced, quota, rate_limit_reset, retry_after
from adapters._transport import TooLong, Transport, Whole, leave
from ferryman.policies import Policy

MOST_CALLS = 1000
REPEATABLE = (Repeat.KEY, Repeat.NATURAL)


class Journal(Protocol):
    """The ledger as a call sees it."""

    job_id: UUID

    def key(self, step: str) -> str: ...

    async def leaving(self, step: str, key: str, repeat: Repeat, request: Request) -> Request:
        """Commit that the request may leave; returns the stored bytes where it is a repeat."""
        ...

    async def no_effect(self, step: str) -> None: ...

    def answered(self, step: str) -> None: ...

    def doubtful(self, step: str) -> bool: ...

    def saw(self, interaction: Row) -> None: ...


class Client:
    """A vendor's connections, for as long as the process lives; `calls` at once at the most."""

    def __init__(self, policy: Policy, *, calls: int = MOST_CALLS) -> None:
        self._seconds = policy.timeout_seconds
        self._transport = Transport(
            connect_seconds=policy.connect_seconds, most_bytes=policy.response_max_bytes
        )
        self.slots = asyncio.Semaphore(calls)

    async def send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        """One exchange. Raises NotSent or Unknown, by what is known of the request's leaving."""
        headers, body = _with(credentials, request)
        # Without `httpx.AsyncClient` around the transport: redirects, cookies and authentication
        # are not wanted here, and took a third of a call's CPU.
        built = httpx.Request(
            request.method,
            _url(request.url),
            # An object's metadata may be in any language, and goes as it is.
            headers=httpx.Headers(headers, encoding="utf-8"),
            content=body,
            extensions={"unpack": not request.opaque},
        )
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._transport.handle_async_request(built)
        except TooLong as error:
            raise Unknown("the vendor's answer is longer than ferryman reads") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(error) from error
        body = cast(Whole, answer.stream).body
        return Response(answer.status_code, dict(answer.headers), body)

    async def close(self) -> None:
        await self._transport.aclose()


class HttpCall:
    """The way out for one attempt: `adapters._base.Call`."""

    def __init__(
        self,
        vendor: str,
        client: Client,
        policy: Policy,
        journal: Journal,
        pace: Pace | None = None,
    ) -> None:
        self.job_id = journal.job_id
        self._vendor = vendor
        self._client = client
        self._policy = policy
        self._journal = journal
        self._pace: Pace = pace or Unpaced()

    async def write(
        self,
        step: str,
        request: Request,
        *,
        key: str,
        repeat: Repeat,
        credentials: Mapping[str, str],
    ) -> Response:
        await self._pace.take()
        # The mark stands within the slot: nothing that is marked waits for others.
        async with self._client.slots:
            request = await self._journal.leaving(step, key, repeat, request)
            gate = Gate(self._pace)
            try:
                answer = await self._exchange(request, credentials, gate)
            except BaseException as error:
                if gate.shut or isinstance(error, NotSent):
                    await asyncio.shield(self._journal.no_effect(step))
                raise
        # What is left of lists tells nothing of sending: SendGrid counts them apart.
        if (left := quota(answer)) is not None:
            self._pace.saw(left)
        if (passing := self._passing(answer)) is not None:
            await self._journal.no_effect(step)
            raise passing
        if answer.status >= 500 or answer.status == 408:
            raise _failed_write(answer, repeat)
        return answer

    async def read(self, request: Request, *, credentials: Mapping[str, str]) -> Response:
        await self._pace.take()
        try:
            async with self._client.slots:
                answer = await self._exchange(request, credentials, Gate(self._pace))
        except Unknown as error:
            raise Unavailable(error.message) from error
        if (passing := self._passing(answer)) is not None:
            raise passing
        if answer.status >= 500 or answer.status == 408:
            raise Unavailable(_says(answer), status=answer.status, retry_after=retry_after(answer))
        return answer

    def key(self, step: str) -> str:
        return self._journal.key(step)

    async def act(self, step: str, described: Row, *, key: str, repeat: Repeat) -> None:
        request = Request(described["method"], described["url"], {})
        await self._journal.leaving(step, key, repeat, request)

    async def pace(self) -> None:
        await self._pace.take()
        await self._pace.renew()

    async def no_effect(self, step: str) -> None:
        await self._journal.no_effect(step)

    def answered(self, step: str) -> None:
        self._journal.answered(step)

    def doubtful(self, step: str) -> bool:
        return self._journal.doubtful(step)

    def saw(self, interaction: Row) -> None:
        self._journal.saw(interaction)

    def _passing(self, answer: Response) -> VendorError | None:
        passing = _passing_error(answer, self._policy)
        renewable = answer.status == 401 and adapter(self._vendor).renews_credentials
        if passing is not None and not renewable:
            self._pace.refused()
        return passing

    async def _exchange(
        self, request: Request, credentials: Mapping[str, str], gate: Gate
    ) -> Response:
        answer: Response | None = None
        failure: VendorError | None = None
        token = leave.set(gate)
        try:
            answer = await self._client.send(request, credentials)
        except VendorError as error:
            failure = error
            raise
        finally:
            leave.reset(token)
            if not gate.shut:
                self._journal.saw(self._interaction(request, answer, failure, gate))
        return answer

    def _interaction(
        self,
        request: Request,
        answer: Response | None,
        failure: VendorError | None,
        gate: Gate,
    ) -> Row:
        return {
            "id": uuid7(),
            "vendor": self._vendor,
            "method": request.method,
            "url": _redact.url(request.url),
            "status_code": answer.status if answer else None,
            "vendor_request_id": _request_id(answer) if answer else None,
            "latency_ms": gate.milliseconds(),
            "request": _sent(request),
            "response": _came(request, answer, _hidden(self._vendor))
            if answer
            else {"error": failure.message if failure else "the attempt was ended"},
            "at": gate.at,
        }


def _with(credentials: Mapping[str, str], request: Request) -> tuple[Mapping[str, str], bytes]:
    """The headers and the body as they leave. A credential that a vendor wants within the body has
    its place there, `{NAME}`, and is given under that name."""
    body = request.body
    headers = dict(request.headers)
    for name, value in credentials.items():
        if name.startswith("{"):
            body = body.replace(name.encode(), orjson.dumps(value)[1:-1])
        else:
            headers[name] = value
    return headers, body


@lru_cache(maxsize=256)
def _url(address: str) -> httpx.URL:
    """Parsed once: a vendor's addresses are few, and to parse one is half of building a request."""
    return httpx.URL(address)


def _lost(error: Exception) -> VendorError:
    """Only aiohttp's own connector tells that no connection was made."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotSent("no connection to the vendor")
    if isinstance(error, TimeoutError):
        return Unknown("the vendor did not answer in time", code="timeout")
    return Unknown("the connection was cut before the answer was complete", code="connection_lost")


def _passing_error(answer: Response, policy: Policy) -> VendorError | None:
    """An answer that proves that nothing happened, and says nothing of earlier requests."""
    match answer.status:
        case 429:
            wait = retry_after(answer)
            if wait is None:
                wait = rate_limit_reset(answer)
            return Throttled(
                "the vendor's rate limit is reached",
                status=429,
                retry_after=min(wait, policy.retry_after_max_seconds) if wait is not None else None,
                answer=answer,
            )
        case 401 | 403:
            return Misconfigured(
                "the vendor does not accept the credentials", status=answer.status, answer=answer
            )
    return None


def _failed_write(answer: Response, repeat: Repeat) -> VendorError:
    if repeat in REPEATABLE:
        return Unavailable(
            _says(answer),
            status=answer.status,
            retry_after=retry_after(answer),
            answer=answer,
        )
    return Unknown(_says(answer), status=answer.status)


def _says(answer: Response) -> str:
    return f"the vendor answered {answer.status}"


def _sent(request: Request) -> Row:
    if request.opaque:
        return {"bytes": len(request.body)}
    return _shown(request.headers, request.body)


def _came(request: Request, answer: Response, hidden: Iterable[str]) -> Row:
    if request.opaque and answer.status < 400:
        return {"bytes": len(answer.body)}
    return _shown(answer.headers, _redact.without(answer.body, hidden))


def _hidden(vendor: str) -> Iterator[str]:
    """The vendor's credentials, which it may repeat when it refuses them."""
    known = adapter(vendor)
    for name in (*known.secrets, *known.webhook_secrets):
        yield from os.environ.get(name, "").split(",")


def _shown(headers: Mapping[str, str], body: bytes) -> Row:
    content_type = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
    return {"headers": _redact.headers(headers), "body": _redact.body(body, content_type)}


def _request_id(answer: Response) -> str | None:
    for name in (
        "request-id",
        "x-request-id",
        "x-message-id",
        "paypal-debug-id",
        "twilio-request-id",
        "x-hubspot-correlation-id",
    ):
        if name in answer.headers:
            return answer.headers[name]
    return None
