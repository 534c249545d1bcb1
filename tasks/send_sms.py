"""`send_sms`: one text message to one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._messages import MessageAnswer, MessageOrder, Messenger
from ferryman import requests
from ferryman.segments import segments
from models import messages as ledger
from tasks import _hear_message, _messages
from tasks._base import Attempt, Done, Heard, Job, NotNow, Refusal, Stopped, Wait

Row = dict[str, Any]

# Resumed, its jobs are woken; this is for one that comes back from the vendor meanwhile.
PAUSED_SECONDS = 300.0


class SendSms(Job[requests.SendSms]):
    request = requests.SendSms
    hears_many = True

    async def run(self, attempt: Attempt[requests.SendSms]) -> Done:
        vendor = cast(Messenger, attempt.adapter)
        order = _order(attempt, vendor.check_sender())
        await _record(attempt, order)
        answer = await vendor.send_message(attempt.call, order)
        return _sent(attempt, answer)

    async def look_up(self, attempt: Attempt[requests.SendSms]) -> Done | None:
        if attempt.since is None:
            return None
        async with attempt.ledger.transaction() as connection:
            sender = await ledger.sender(connection, attempt.id)
        vendor, order = cast(Messenger, attempt.adapter), _order(attempt, sender)
        found = await vendor.find_messages(attempt.call, order, attempt.since)
        ours = await _messages.ours(attempt, order, found)
        if ours is not None:
            return _sent(attempt, ours)
        async with attempt.held() as connection:
            await ledger.waits_again(connection, attempt.id)
        return None

    async def hear_all(
        self, connection: AsyncConnection, told: Sequence[Heard]
    ) -> list[str | NotNow]:
        return await _hear_message.hear_all(connection, told)

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"messages": [{"job_id": str(id), "status": "failed"}]}

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return {"messages": [{"job_id": str(id), "status": "cancelled"}]}

    def again(self, id: UUID) -> dict[str, list[Row]]:
        return {"messages": [{"job_id": str(id), "status": "waiting"}]}

    def resolved(self, id: UUID, vendor: str, args: requests.SendSms) -> Done:
        result = {"id": str(id), "vendor": vendor, "status": "sent", "vendor_reference": None}
        return Done(result, writes={"messages": [{"job_id": str(id), "status": "sent"}]})

    def in_doubt(self, id: UUID) -> dict[str, list[Row]]:
        return {"messages": [{"job_id": str(id), "status": "unknown"}]}


def _order(attempt: Attempt[requests.SendSms], sender: str | None) -> MessageOrder:
    return MessageOrder(attempt.id, attempt.args.to, attempt.args.body, sender)


def _sent(attempt: Attempt[requests.SendSms], answer: MessageAnswer) -> Done:
    return _messages.sent(attempt.id, attempt.vendor, answer, segments(attempt.args.body))


async def _record(attempt: Attempt[requests.SendSms], order: MessageOrder) -> None:
    """The message's row, before anything leaves. Raises Refusal for a number that nothing may be
    sent to, Wait while its batch is paused, Stopped where that is cancelled."""
    async with attempt.held() as connection:
        gate = await ledger.gate(connection, order.to, attempt.batch_id)
        if gate.batch in (None, "running"):
            await ledger.sending(connection, _row(attempt, order))
        else:
            await ledger.waits_again(connection, attempt.id)
    if gate.batch == "cancelled":
        raise Stopped
    if gate.batch == "paused":
        raise Wait("its batch is paused", PAUSED_SECONDS)
    if gate.stopped is not None:
        raise Refusal("suppressed", f"to: is suppressed ({gate.stopped})")


def _row(attempt: Attempt[requests.SendSms], order: MessageOrder) -> Row:
    return {
        "id": attempt.id,
        "vendor": attempt.vendor,
        "recipient": order.to,
        "sender": order.sender,
        "body": order.body,
        "segments": segments(order.body),
    }
