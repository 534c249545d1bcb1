"""What the ledger keeps of a request that may have left."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from adapters._base import Repeat, Request
from ferryman.policies import policy
from models.ledger import Ledger
from models.walk import Claimed, Leaving, Left
from worker.heartbeat import Lease
from worker.journal import LONGEST_KEPT, Journal

JOB = UUID("019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901")
URL = "https://vendor.invalid/v3/mail/send"
HEADERS = {"content-type": "application/json"}
LONG = b'{"personalizations": [' + b'{"to": "a"}, ' * 20_000 + b"]}"


@dataclass
class Marks:
    """A ledger that keeps marks in memory."""

    kept: list[Leaving] = field(default_factory=list)

    async def leave(self, mark: Leaving) -> Left:
        self.kept.append(mark)
        return Left.YES


def journal(marks: Marks, *sends: dict[str, Any], fence: int = 1) -> Journal:
    """That of an attempt whose earlier ones have sent this."""
    claimed = SimpleNamespace(id=JOB, fence=fence, round=0, sends=sends)
    lease = Lease(JOB, float("inf"))
    given = cast(Claimed, claimed), cast(Ledger, marks), lease, policy("sendgrid")
    return Journal(*given, admitted=lambda: None)


async def leaving(journal: Journal, repeat: Repeat, body: bytes) -> Request:
    return await journal.leaving("send", "key", repeat, Request("POST", URL, HEADERS, body))


@pytest.mark.parametrize("repeat", [Repeat.NEVER, Repeat.LOOK_UP])
async def test_of_a_long_body_that_is_never_sent_again_the_digest_is_kept(repeat: Repeat) -> None:
    marks = Marks()

    left = await leaving(journal(marks), repeat, LONG)

    assert left.body == LONG
    digest = hashlib.sha256(LONG).hexdigest()
    kept = {"method": "POST", "headers": HEADERS, "sha256": digest, "bytes": len(LONG)}
    assert marks.kept[0].request == kept


async def test_a_short_one_is_kept_whole() -> None:
    marks = Marks()
    await leaving(journal(marks), Repeat.NEVER, b"x" * LONGEST_KEPT)

    assert marks.kept[0].request["body"] == "x" * LONGEST_KEPT


@pytest.mark.parametrize("repeat", [Repeat.KEY, Repeat.NATURAL])
async def test_what_may_be_sent_again_is_kept_whole_and_sent_as_it_was(repeat: Repeat) -> None:
    marks = Marks()
    await leaving(journal(marks), repeat, LONG)
    sent = {
        "step": "send",
        "attempt": 1,
        "vendor_key": "key",
        "repeat": repeat.value,
        "repeatable": True,
        "request": marks.kept[0].request,
        "answered_at": None,
        "sent_at": "2026-11-28T12:00:00+00:00",
    }

    again = await leaving(journal(marks, sent, fence=2), repeat, b"built in another way")

    assert again.body == LONG
