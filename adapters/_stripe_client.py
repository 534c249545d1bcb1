"""Stripe's official SDK on our transport: it builds the requests. The answers are read here: the
trees of objects that the SDK makes of them took more time than all the rest of a charge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cached_property, partial
from typing import Any, TypeVar

import orjson
import stripe

from adapters import _base
from adapters import _stripe as words
from adapters._base import (
    Call,
    Refused,
    Repeat,
    Request,
    Response,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._stripe_fields import Row, Unreadable, inner, text

# Set where Stripe repeats the answer that it keeps under an Idempotency-Key, also one of 500:
# https://docs.stripe.com/api/idempotent_requests
REPLAYED = "idempotent-replayed"
SENT_HEADERS = ("Idempotency-Key", "Content-Type", "Stripe-Version", "User-Agent")
# Another request, with the same key or on the same object, still runs.
CONFLICT = 409
# Half a minute in all, the longest that one of our requests may take.
LOCKED_LOOKS = 60
LOCKED_LOOK_SECONDS = 0.5
DECLINED = 402
REFUSALS = (400, DECLINED, 404)
# Never asked: the address and the key of the real one are put in on the way out.
NOWHERE = "https://stripe.invalid"

Told = TypeVar("Told")
Make = Callable[[Any], Awaitable[Any]]
"""Asks for one thing of the SDK's services, `client.v1`."""
Send = Callable[[Request, Mapping[str, str]], Awaitable[Response]]
_send: ContextVar[Send] = ContextVar("stripe_send")


class Client:
    """How one account is asked."""

    def __init__(self, vendor: _base.Adapter) -> None:
        self._vendor = vendor

    @cached_property
    def v1(self) -> Any:
        """The SDK's services. Their key is a placeholder: so a rotated one is used at once, and
        none is ever stored with a request."""
        client = stripe.StripeClient(
            "sk_test_placeholder",
            http_client=_Bridge(self._vendor),
            base_addresses={"api": NOWHERE},
            max_network_retries=0,
        )
        return client.v1

    async def write(
        self, call: Call, step: str, key: str, make: Make, told: Callable[[Row], Told]
    ) -> Told:
        """Ask for an effect, and read what is told of it. Raises a VendorError."""
        answer = await self._once_free(call, step, key, make)
        if not _is_good(answer):
            raise await _refusal(answer, call, step)
        try:
            read = told(_document(answer))
        except Unreadable:
            raise Unknown("the vendor's answer cannot be read", status=answer.status) from None
        call.answered(step)
        return read

    async def read(self, call: Call, make: Make, told: Callable[[Row], Told]) -> Told:
        """Look at something. Raises Refused with `not_found`, or another VendorError."""
        answer = await _ask(self.v1, make, _looking(call))
        if answer.status == 404 and words.failure(_error(answer)) == "not_found":
            raise Refused("the vendor knows of none", code="not_found", status=404)
        return _read(answer, told)

    async def listed(
        self, call: Call, of: Callable[[Any], Any], asked: Row, told: Callable[[Row], Told | None]
    ) -> AsyncIterator[Told]:
        """What is told by the objects of a list, page by page. Raises a VendorError, but never
        Refused: that nothing is there, only a list can say."""
        page: Row | None = asked
        while page is not None:
            answer = await _ask(self.v1, _listing(of, page), _looking(call))
            found, last = _read(answer, lambda document: _rows(document, told))
            for one in found:
                yield one
            page = {**asked, "starting_after": last} if last else None

    async def _once_free(self, call: Call, step: str, key: str, make: Make) -> Response:
        """A request of a worker that died may still run at Stripe: its key is locked until it
        ends."""
        send = partial(_write, call, step, key)
        for _ in range(LOCKED_LOOKS):
            answer = await _ask(self.v1, make, send)
            if answer.status != CONFLICT:
                return answer
            await call.no_effect(step)
            await asyncio.sleep(LOCKED_LOOK_SECONDS)
        return await _ask(self.v1, make, send)


async def _ask(v1: Any, make: Make, send: Send) -> Response:
    """The answer to the request that the SDK makes."""
    token = _send.set(send)
    try:
        await make(v1)
    except _Answered as answered:
        return answered.answer
    finally:
        _send.reset(token)
    raise AssertionError("the SDK has asked nothing")


def _listing(of: Callable[[Any], Any], asked: Row) -> Make:
    return lambda v1: of(v1).list_async(asked)


class _Answered(Exception):
    """An answer, on its way past the SDK."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


class _Bridge(stripe.HTTPClient):
    """Hands the SDK's request to the call at hand."""

    name = "ferryman"

    def __init__(self, vendor: _base.Adapter) -> None:
        super().__init__()
        self._vendor = vendor

    async def request_async(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        request = Request(
            method.upper(),
            url.replace(NOWHERE, self._vendor.address(), 1),
            {k: v for k, v in headers.items() if k in SENT_HEADERS},
            (post_data or "").encode(),
        )
        credentials = {"Authorization": f"Bearer {self._vendor.secret('STRIPE_SECRET_KEY')}"}
        raise _Answered(await _send.get()(request, credentials))


def _looking(call: Call) -> Send:
    return lambda request, credentials: call.read(request, credentials=credentials)


async def _write(
    call: Call, step: str, key: str, request: Request, credentials: Mapping[str, str]
) -> Response:
    try:
        return await call.write(step, request, key=key, repeat=Repeat.KEY, credentials=credentials)
    except Unavailable as error:
        if error.answer is None or error.answer.headers.get(REPLAYED) != "true":
            raise
        raise Unknown(
            "the vendor repeats the failure that it keeps under this key",
            look_up=True,
            status=error.status,
        ) from None


async def _refusal(answer: Response, call: Call, step: str) -> VendorError:
    """Stripe's word into ours. Only a refusal of the request itself tells about its effect."""
    status, error = answer.status, _error(answer)
    if status == CONFLICT:
        await call.no_effect(step)
        return Unavailable("an earlier request still runs", status=status, retry_after=1.0)
    if status not in REFUSALS or not error:
        return Unknown("the vendor's answer cannot be read", status=status)
    if error.get("type") == "idempotency_error":
        await call.no_effect(step)
        return Unknown("the vendor key is known with other parameters", status=status, look_up=True)
    if status != DECLINED and call.doubtful(step):
        # Stripe did not get as far as the key: this says nothing of what the earlier one did.
        await call.no_effect(step)
        return Unknown(
            "refused, while an earlier request may have had its effect",
            status=status,
            look_up=True,
        )
    call.answered(step)
    word = words.failure(error)
    return Refused(words.message(word), code=word, status=status)


def _is_good(answer: Response) -> bool:
    return 200 <= answer.status < 300


def _document(answer: Response) -> Row:
    """The object that a body holds. Raises Unreadable."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable("body")
    return found


def _error(answer: Response) -> Row:
    try:
        return inner(_document(answer), "error")
    except Unreadable:
        return {}


def _read(answer: Response, told: Callable[[Row], Told]) -> Told:
    try:
        if _is_good(answer):
            return told(_document(answer))
    except Unreadable:
        pass
    raise Unavailable("the vendor's answer cannot be read", status=answer.status)


def _rows(found: Row, told: Callable[[Row], Told | None]) -> tuple[list[Told], str | None]:
    """What a page tells, and after which object the next one begins. Raises Unreadable."""
    rows = found.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unreadable("data")
    more = rows and found.get("has_more") is True
    read = [told(row) for row in rows]
    return [one for one in read if one is not None], text(rows[-1], "id") if more else None
