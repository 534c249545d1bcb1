"""Which of the messages at the vendor's is a job's own, and what follows from it.

Vendors of text messages know no key of ours. A message in doubt is looked for among all of the same
sender, number and text, and the ledger tells whose each of those is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from adapters._base import Unknown
from adapters._messages import MessageAnswer, MessageOrder
from ferryman import requests
from models import messages as ledger
from models.messages import Equal
from tasks._base import Attempt, Done, timestamp

Row = dict[str, Any]

# A request takes effect, if at all, so long after it left, by whichever clock.
LONGEST_CALL = timedelta(minutes=10)


def sent(id: UUID, vendor: str, answer: MessageAnswer, segments: int) -> Done:
    """The vendor has taken the message over. `segments`: estimated, where it does not say."""
    counted = answer.segments or segments
    result = {
        "id": str(id),
        "vendor": vendor,
        "vendor_reference": answer.vendor_reference,
        "status": "sent",
        "segments": counted,
        "created_at": timestamp(answer.created_at),
    }
    row = {
        "job_id": str(id),
        "status": "sent",
        "vendor_reference": answer.vendor_reference,
        "sender": answer.sender,
        "segments": counted,
    }
    return Done(result, writes={"messages": [row]})


async def ours(
    attempt: Attempt[requests.SendSms], order: MessageOrder, found: Sequence[MessageAnswer]
) -> MessageAnswer | None:
    """Which of the messages that the vendor has is the one of this job. None: it has none. Raises
    Unknown where it cannot be told (yet)."""
    assert attempt.since is not None
    async with attempt.ledger.transaction() as connection:
        others = await ledger.equal(
            connection,
            attempt.id,
            vendor=attempt.vendor,
            recipient=order.to,
            body=order.body,
            references=[answer.vendor_reference for answer in found],
        )
    taken = {other.vendor_reference for other in others}
    free = [answer for answer in found if answer.vendor_reference not in taken]
    return _share(attempt.id, free, _rivals(others, attempt.since))


def _rivals(others: Sequence[Equal], since: datetime) -> list[Equal]:
    """Those that may have a share in the messages since then whose owner is not known."""
    return [
        other
        for other in others
        if other.vendor_reference is None
        and (other.doubtful or other.status == "sent")
        and other.left_at is not None
        and other.left_at > since - LONGEST_CALL
    ]


def _share(
    id: UUID, free: Sequence[MessageAnswer], rivals: Sequence[Equal]
) -> MessageAnswer | None:
    if not free:
        return None
    if any(rival.under_way for rival in rivals):
        raise Unknown("an equal message to the same number is under way")
    if len(free) > len(rivals) + 1:
        raise Unknown("several messages at the vendor may be this one", for_person=True)
    if len(free) <= len(rivals):
        raise Unknown("an equal message to the same number is in doubt as well")
    # There is one for each. Nobody can tell them apart, so each takes the one of its own place.
    place = sum(rival.id < id for rival in rivals)
    return sorted(free, key=lambda answer: answer.created_at)[place]
