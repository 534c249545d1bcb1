"""PayPal's access token: fetched once for all, renewed once for all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from adapters._base import Misconfigured, NotSent, Response, Throttled, Unavailable, VendorError
from adapters._http import Client, HttpCall
from adapters._payments import Payment
from adapters._tokens import Token, Tokens
from adapters.paypal import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.paypal_double import (
    GET_TOKEN,
    LOOK,
    REFUND_ORDER,
    TAKEN,
    Paypal,
    answer,
    capture,
    environment,  # noqa: F401 - for all tests here
    order,
    refund,
)

LOOKED = order("COMPLETED", captures=[capture()])


def issued(value: str, seconds: Any = 32400) -> Response:
    return answer(200, {"access_token": value, "token_type": "Bearer", "expires_in": seconds})


async def look(paypal: Paypal) -> Payment:
    return await Adapter().read_payment(paypal.call, TAKEN)


def tokens_asked(paypal: Paypal) -> int:
    return sum(r.url.endswith("/v1/oauth2/token") for r, _ in paypal.vendor.requests)


async def test_the_request_for_a_token() -> None:
    paypal = Paypal({LOOK: answer(200, LOOKED)})

    await look(paypal)

    request, credentials = paypal.vendor.requests[0]
    assert (request.method, request.url) == ("POST", "https://api-m.paypal.com/v1/oauth2/token")
    assert request.body == b"grant_type=client_credentials"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in request.headers
    basic = "cGxhbnRlZC1jbGllbnQtaWQ6cGxhbnRlZC1jbGllbnQtc2VjcmV0"
    assert credentials == {"Authorization": f"Basic {basic}"}


async def test_it_is_kept_while_it_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    paypal = Paypal({GET_TOKEN: [issued("one", 1000), issued("two")], LOOK: answer(200, LOOKED)})
    for seconds, asked in ((0, 1), (939, 1), (2, 2), (5, 2)):
        now += seconds
        await look(paypal)
        assert tokens_asked(paypal) == asked
    assert paypal.vendor.requests[-1][1] == {"Authorization": "Bearer two"}


async def test_each_account_and_address_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    paypal = Paypal({LOOK: answer(200, LOOKED)})
    await look(paypal)
    monkeypatch.setenv("PAYPAL_CLIENT_SECRET", "another")
    await look(paypal)
    monkeypatch.setenv("PAYPAL_BASE_URL", "https://api-m.sandbox.paypal.com")
    await look(paypal)

    assert tokens_asked(paypal) == 3


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(401, {"error": "invalid_client"}), Misconfigured),
        (answer(400, {"error": "unsupported_grant_type"}), Misconfigured),
        (answer(403), Misconfigured),
        (answer(429), Throttled),
        (answer(500), Unavailable),
        (answer(200, []), Unavailable),
        (answer(200, {"access_token": "x"}), Unavailable),
        (issued("x", "soon"), Unavailable),
        (issued("two\r\nX-Injected: 1"), Unavailable),
        (Response(200, {}, b"<html>"), Unavailable),
        (NotSent("no connection to the vendor"), NotSent),
    ],
)
async def test_no_token(given: Response | VendorError, error: type[VendorError]) -> None:
    paypal = Paypal({GET_TOKEN: given})

    with pytest.raises(error) as raised:
        await Adapter().refund(paypal.call, REFUND_ORDER)

    assert type(raised.value) is error
    # Nothing of the job has left, whatever became of the token.
    assert paypal.notes.left == []
    if error is Misconfigured:
        assert "PAYPAL_CLIENT_ID" in raised.value.message


async def test_a_refused_token_is_renewed_once() -> None:
    paypal = Paypal(
        {
            GET_TOKEN: [issued("old"), issued("new")],
            "POST /v2/payments/captures/3C679366HH908993F/refund": [
                answer(401, {"name": "AUTHENTICATION_FAILURE"}),
                answer(201, refund()),
            ],
        }
    )
    told = await Adapter().refund(paypal.call, REFUND_ORDER)

    assert told.status == "succeeded"
    assert [c["Authorization"] for _, c in paypal.vendor.requests[1:]] == [
        "Bearer old",
        paypal.vendor.requests[0][1]["Authorization"],
        "Bearer new",
    ]
    # The 401 proves that nothing happened, and the key stays the same.
    assert paypal.notes.without_effect == ["refund"]
    assert len({key for _, key, _, _ in paypal.notes.left}) == 1


async def test_a_new_token_that_is_refused_too() -> None:
    paypal = Paypal({GET_TOKEN: [issued("old"), issued("new")], LOOK: answer(401)})

    with pytest.raises(Misconfigured, match="PAYPAL_CLIENT_ID is not accepted"):
        await look(paypal)

    assert paypal.asked() == [LOOK, LOOK]
    assert tokens_asked(paypal) == 2


async def test_who_is_cancelled_leaves_the_fetch_to_the_next() -> None:
    tokens, begun = Tokens(), asyncio.Event()

    async def never() -> Token:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def good() -> Token:
        return Token("two", time.monotonic() + 60)

    first = asyncio.create_task(tokens.get("a", never))
    await begun.wait()
    second = asyncio.create_task(tokens.get("a", good))
    await asyncio.sleep(0)
    first.cancel()

    assert (await asyncio.wait_for(second, 1)).value == "two"


async def test_who_waited_for_a_fetch_that_failed_does_not_fetch_again() -> None:
    tokens, fetched = Tokens(), 0

    async def bad() -> Token:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0)
        raise Unavailable("the vendor answered 503", status=503, retry_after=7.0)

    asked = [tokens.get("a", bad) for _ in range(50)]
    errors = await asyncio.gather(*asked, return_exceptions=True)

    assert fetched == 1
    assert {type(error) for error in errors} == {Unavailable}
    assert {(error.retry_after, error.status) for error in errors} == {(7.0, 503)}  # type: ignore[union-attr]
    assert len({id(error) for error in errors}) == 50
    with pytest.raises(Unavailable):
        await tokens.get("a", bad)
    assert fetched == 2


def test_a_token_outlives_the_loop_that_fetched_it() -> None:
    tokens, fetched = Tokens(), 0

    async def fetch() -> Token:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0.001)
        return Token(str(fetched), time.monotonic() + (60 if fetched > 1 else 0))

    async def many() -> set[str]:
        found = await asyncio.gather(*(tokens.get("a", fetch) for _ in range(5)))
        return {token.value for token in found}

    async def one() -> str:
        return (await tokens.get("a", fetch)).value

    asyncio.run(one())
    assert asyncio.run(many()) == {"2"}
    assert asyncio.run(many()) == {"2"}
    assert fetched == 2


@dataclass
class Server:
    """PayPal on loopback, which takes the newest of its tokens only."""

    issued: int = 0
    refused: int = 0
    looks: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.startswith("POST"):
                    await reader.readexactly(len(b"grant_type=client_credentials"))
                status, body = await self._answer(head)
                raw = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(raw)}\r\n\r\n".encode()
                    + raw
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: str) -> tuple[int, Any]:
        if head.startswith("POST /v1/oauth2/token"):
            self.issued += 1
            number = self.issued
            await asyncio.sleep(0.02)  # so that the others meet it on its way
            return 200, {"access_token": f"token-{number}", "expires_in": 32400}
        if f"Bearer token-{self.issued}" not in head:
            self.refused += 1
            return 401, {"name": "AUTHENTICATION_FAILURE"}
        self.looks += 1
        return 200, LOOKED


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    state = Server()
    listening = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    monkeypatch.setenv("PAYPAL_BASE_URL", f"http://127.0.0.1:{port}")
    yield state
    listening.close()


@pytest.fixture
async def fifty() -> AsyncIterator[Callable[[], Awaitable[list[Payment]]]]:
    """Fifty jobs at once, over real connections."""
    client = Client(policy("paypal"))

    async def one() -> Payment:
        call = HttpCall("paypal", client, policy("paypal"), doubles.Notes())
        return await Adapter().read_payment(call, TAKEN)

    async def all_() -> list[Payment]:
        return await asyncio.gather(*(one() for _ in range(50)))

    yield all_
    await client.close()


async def test_fifty_jobs_ask_for_one_token(
    server: Server, fifty: Callable[[], Awaitable[list[Payment]]]
) -> None:
    assert {payment.status for payment in await fifty()} == {"succeeded"}
    assert (server.issued, server.refused, server.looks) == (1, 0, 50)


async def test_fifty_jobs_renew_one_token(
    server: Server, fifty: Callable[[], Awaitable[list[Payment]]]
) -> None:
    await fifty()
    server.issued += 1  # PayPal has revoked the first

    assert {payment.status for payment in await fifty()} == {"succeeded"}
    assert server.issued == 3
    assert 1 <= server.refused <= 50
    assert server.looks == 100
