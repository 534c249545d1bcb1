"""`bulk_sms`: plan a batch. Each recipient gets a row, and a `send_sms` job that sends to him.

The bulk job sends nothing itself: it has succeeded when its plan is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from adapters._messages import Messenger
from ferryman import phones, requests
from ferryman.segments import segments
from models import message_plan as ledger
from models.message_plan import Messages, Planned
from tasks import _bulk, _recipients
from tasks._base import Attempt, Done, Job
from tasks._recipients import Recipient

Row = dict[str, Any]


class BulkSms(Job[requests.BulkSms]):
    request = requests.BulkSms
    large = True
    deadline_seconds = 1800.0  # a million numbers take some minutes

    async def run(self, attempt: Attempt[requests.BulkSms]) -> Done:
        cast(Messenger, attempt.adapter).check_sender()
        return await _bulk.planned(attempt, partial(_plan, attempt))


async def _plan(attempt: Attempt[requests.BulkSms], connection: AsyncConnection) -> Row | None:
    body = attempt.args.body
    shared = Messages(attempt.id, attempt.vendor, body, segments(body))
    given = ((number.to, None) for number in attempt.args.recipients or ())
    async for chunk in _recipients.chunks(attempt.ledger, given, attempt.args.upload):
        rows = await asyncio.to_thread(_planned, chunk)
        await ledger.add(connection, shared, rows)
    return await ledger.plan(connection, attempt.id, {"body": body})


def _planned(recipients: Iterable[Recipient]) -> list[Planned]:
    """For a thread: to read some thousand numbers takes a processor a while."""
    return [_look_at(place, to) for place, to, _ in recipients]


def _look_at(place: int, to: str) -> Planned:
    try:
        return Planned(uuid7(), place, phones.normalised(to))
    except ValueError as error:
        return Planned(uuid7(), place, to, f"to: {error}")
