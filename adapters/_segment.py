"""Segment's words and ours. A 200 does not mean that all was taken: what lacks a user or a name is
dropped there without a word, so it is refused here. Facts:
https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#errors"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from adapters._analytics import Happening, Person
from adapters._base import Call, Response, Unknown
from adapters._records import REFUSED, TOO_LARGE, Outcome, Record, Whole, document, refused, unread

MOST_BYTES = 32 * 1024
# As Segment wants each library to name itself.
CONTEXT = {"library": {"name": "ferryman"}}


def event(one: Happening) -> Record:
    """Raises RefusedRecord for what Segment would refuse, or drop."""
    if not one.event.strip():
        raise refused("event", "must not be empty")
    more = {"event": one.event, "properties": one.properties}
    return _record(one, "track", more, "properties")


def person(one: Person) -> Record:
    """The same for a person."""
    return _record(one, "identify", {"traits": one.traits}, "traits")


def _record(one: Happening | Person, type: str, more: dict[str, Any], field: str) -> Record:
    if not one.user.strip():
        raise refused("user", "must not be empty")
    body = orjson.dumps(
        {
            "type": type,
            "messageId": one.id,
            "userId": one.user,
            "timestamp": moment(one.at),
            "context": CONTEXT,
            **more,
        }
    )
    if len(body) > MOST_BYTES:
        raise refused(field, "the event is larger than the vendor takes", code="too_large")
    return Record(one.id, body)


def moment(at: datetime) -> str:
    """As the official packages write it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


async def taken(call: Call, step: str, answer: Response) -> Outcome:
    """What became of the request: of its records Segment tells nothing."""
    told = document(answer)
    if answer.status == 200 and isinstance(told, dict) and told.get("success") is True:
        call.answered(step)
        return Outcome()
    if not 400 <= answer.status < 500:
        raise unread(answer)
    if call.doubtful(step):
        # It looks at the size and the JSON before it looks at any id.
        await call.no_effect(step)
        raise Unknown("refused, while an earlier request may have had its effect", look_up=True)
    call.answered(step)
    large = answer.status == 413
    raise Whole(TOO_LARGE if large else REFUSED, status=answer.status, large=large)
