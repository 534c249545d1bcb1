"""PayPal's requests on our transport: their token, their key, and what an answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import orjson

from adapters import _base, _paypal_token
from adapters import _paypal as words
from adapters._base import (
    Call,
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Response,
    Row,
    Unavailable,
    Unknown,
)
from adapters._paypal_issues import CODES, IN_PROGRESS, KEY_KNOWN
from adapters._tokens import Tokens

JSON = "application/json"
# PayPal wants the type also where there is no body.
HEADERS = {"Content-Type": JSON, "Accept": JSON}
# Half a minute in all, the longest that one of our requests may take.
LOCKED_LOOKS = 60
LOCKED_LOOK_SECONDS = 0.5
BUSY = 409
GOOD = (200, 201)
"""A repeat within its key's time is answered 200, with what became of the first."""

Told = TypeVar("Told")
Send = Callable[[Mapping[str, str]], Awaitable[Response]]
TOKENS = Tokens()


class Wire(_base.Adapter):
    """What all of PayPal's operations have in common."""

    async def get(self, call: Call, path: str) -> Row:
        """Read one of PayPal's objects. Raises Refused `not_found`, else as `Call.read`."""
        request = Request("GET", self.address() + path, HEADERS)
        answer = await self._authorized(
            call, lambda credentials: call.read(request, credentials=credentials)
        )
        if 400 <= answer.status < 500 and words.code(answer) == "not_found":
            raise Refused(words.message("not_found"), code="not_found", status=answer.status)
        told = words.document(answer)
        if answer.status != 200 or told is None:
            raise unread(answer.status)
        return told

    async def post(
        self, call: Call, step: str, path: str, body: Row | None, key: str | None = None
    ) -> Response:
        """Send a step of the job. A request of a worker that died may still run at PayPal: its
        key is locked until that ends."""
        key = key or call.key(step)
        request = Request(
            "POST",
            self.address() + path,
            {**HEADERS, "Prefer": "return=representation", "PayPal-Request-Id": key},
            b"" if body is None else orjson.dumps(body),
        )
        send = partial(call.write, step, request, key=key, repeat=Repeat.KEY)
        for _ in range(LOCKED_LOOKS):
            answer = await self._authorized(call, lambda credentials: send(credentials=credentials))
            if not _busy(answer):
                return answer
            await call.no_effect(step)
            await asyncio.sleep(LOCKED_LOOK_SECONDS)
        raise Unavailable("an earlier request still runs", status=BUSY, retry_after=1.0)

    async def understood(
        self, call: Call, step: str, answer: Response, read: Callable[[Row], Told]
    ) -> Told:
        """What the answer to a step tells. Raises Refused, or Unknown where that is no proof."""
        if 400 <= answer.status < 500:
            raise await refusal(call, step, answer)
        told = words.document(answer)
        if answer.status not in GOOD or told is None:
            raise Unknown("the vendor's answer cannot be read", status=answer.status)
        try:
            found = read(told)
        except words.UNREADABLE:
            raise Unknown("the vendor's answer cannot be read", status=answer.status) from None
        call.answered(step)
        return found

    async def _authorized(self, call: Call, send: Send) -> Response:
        """Send with the process's token. A 401 proves that nothing happened: then once more with a
        new one."""
        refused: str | None = None
        while True:
            token = await self._token(call, refused)
            try:
                return await send({"Authorization": f"Bearer {token}"})
            except Misconfigured as error:
                if error.status == 403 and error.answer and words.issue(error.answer) in CODES:
                    return error.answer
                if error.status != 401:
                    raise _not_allowed(error) from None
                if refused is not None:
                    message = "PAYPAL_CLIENT_ID is not accepted"
                    raise Misconfigured(message, status=401) from None
            refused = token

    async def _token(self, call: Call, refused: str | None) -> str:
        address = self.address()
        client, secret = self.secret("PAYPAL_CLIENT_ID"), self.secret("PAYPAL_CLIENT_SECRET")
        fetch = partial(_paypal_token.fetch, call, address, client, secret)
        return (await TOKENS.get(f"{address} {self.fingerprint()}", fetch, refused)).value


async def refusal(call: Call, step: str, answer: Response) -> Refused | Unknown:
    """A 4xx in our words. While an earlier request is in doubt, it tells nothing of that one."""
    if words.issue(answer) in KEY_KNOWN:
        await call.no_effect(step)
        message = "the vendor key is known with another request"
        return Unknown(message, status=answer.status, look_up=True)
    if call.doubtful(step):
        await call.no_effect(step)
        return Unknown(
            "refused, while an earlier request may have had its effect",
            status=answer.status,
            look_up=True,
        )
    call.answered(step)
    word = words.code(answer)
    return Refused(words.message(word), code=word, status=answer.status)


def unread(status: int | None = None) -> Unavailable:
    return Unavailable("the vendor's answer cannot be read", status=status)


def _busy(answer: Response) -> bool:
    return answer.status == BUSY or (answer.status == 422 and words.issue(answer) == IN_PROGRESS)


def _not_allowed(error: Misconfigured) -> Misconfigured:
    return Misconfigured("PAYPAL_CLIENT_ID may not do this at the vendor", status=error.status)
