"""What the tests of text messages have in common: an account at Twilio, looks into the ledger."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Request, Response
from adapters._news import MessageNews
from tasks import _hear_message
from tasks._base import Heard, NotNow
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver, driving

ACCOUNT = f"AC{'0' * 32}"
SENDER = "+15005550006"
LOST = Response(500, {}, b"")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


def number() -> str:
    """One of its own: the tests of a run share a ledger."""
    return f"+4477009{next(_numbers):05}"


class Account:
    """Sends what it is asked to, and lists it. `next`: what it answers in turn instead of the
    truth; `deaf`: how many requests get LOST and do nothing."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.next: list[Answer] = []
        self.deaf = 0

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            (to,) = parse_qs(urlsplit(request.url).query)["To"]
            found = [one for one in self.messages if one["to"] == to]
            return _json(200, {"messages": found, "next_page_uri": None})
        if self.deaf:
            self.deaf -= 1
            return LOST
        answer = self.next.pop(0) if self.next else None
        if isinstance(answer, Response) and 400 <= answer.status < 500:
            return answer
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        made = self.send(form["To"], form["Body"], form["From"])
        return answer or _json(201, made)

    def send(self, to: str, body: str, sender: str = SENDER) -> dict[str, Any]:
        """A message, by whomever."""
        message = {
            "sid": f"SM{uuid4().hex}",
            "to": to,
            "from": sender,
            "body": body,
            "status": "queued",
            "num_segments": "1",
            "direction": "outbound-api",
            "date_created": format_datetime(datetime.now(UTC)),
        }
        self.messages.append(message)
        return message


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(document).encode())


def refusal(code: int) -> Response:
    return _json(400, {"code": code, "message": "no", "status": 400})


@asynccontextmanager
async def texting(url: str, account: Account, patch: pytest.MonkeyPatch) -> AsyncIterator[Driver]:
    """A driver whose vendor is that account."""
    patch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT)
    patch.setenv("TWILIO_AUTH_TOKEN", "a token")
    patch.setenv("TWILIO_FROM", SENDER)
    async with driving(url, account) as driver:
        await driver.rows(
            "UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL"
        )
        yield driver


async def message(driver: Driver, id: UUID) -> dict[str, Any]:
    (row,) = await driver.rows("SELECT * FROM ferryman.messages WHERE id = :id", id=id)
    return row


async def suppress(driver: Driver, number: str) -> None:
    await driver.rows(
        "INSERT INTO ferryman.suppressions (channel, address, reason, source)"
        " VALUES ('sms', :number, 'unsubscribe', 'a test')",
        number=number,
    )


async def suppressed(driver: Driver, number: str) -> dict[str, Any] | None:
    rows = await driver.rows(
        "SELECT reason, source FROM ferryman.suppressions WHERE channel = 'sms' AND address = :to",
        to=number,
    )
    return rows[0] if rows else None


def news(what: str, *, seconds: float = 0.0, age: float = 0.0, **known: Any) -> Heard:
    told = MessageNews(NOW + timedelta(seconds=seconds), what, **known)
    return Heard("twilio", told, f"{uuid7()}", uuid7(), age_seconds=age)


async def hear(driver: Driver, *told: Heard) -> list[str | NotNow]:
    async with driver.ledger.transaction() as connection:
        return await _hear_message.hear_all(connection, told)
