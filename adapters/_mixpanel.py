"""Mixpanel's words and ours. Facts: https://docs.mixpanel.com/reference/import-events (limits, and
the placeholders that it takes for no user) and
https://docs.mixpanel.com/troubleshooting/errors/400-bad-request"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from adapters._analytics import Happening, Person
from adapters._base import Call, Response, Unknown
from adapters._records import (
    REFUSED,
    TOO_LARGE,
    Outcome,
    Record,
    Trouble,
    Whole,
    document,
    named,
    refused,
    unread,
)

MOST_BYTES = 1_000_000
MOST_PROPERTIES = 255
LONGEST_NAME = 255
EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
AHEAD = timedelta(hours=1)
# Where the project's token stands in a person's record.
PLACE = "{MIXPANEL_PROJECT_TOKEN}"
# What names the event, its user, its time or its project; ours to set.
RESERVED = frozenset(
    {"time", "distinct_id", "token", "$insert_id", "$token", "$device_id", "$user_id", "$time"}
)
# What Mixpanel's pages name as mistakes, and no user's id. Of others that it does not take it tells
# by itself.
NOBODY = frozenset(
    {
        *("", "anon", "anonymous", "nil", "none", "null", "n/a"),
        "00000000-0000-0000-0000-000000000000",
    }
)
# The fields that it names, in our words.
FIELDS = {
    "event": "event",
    "properties": "properties",
    "properties.time": "at",
    "properties.distinct_id": "user",
    "properties.$insert_id": None,
}


def event(one: Happening) -> Record:
    """Raises RefusedRecord for what Mixpanel would refuse."""
    _user(one.user)
    _time(one.at)
    if not one.event.strip():
        raise refused("event", "must not be empty")
    if len(one.event.encode()) > LONGEST_NAME:
        raise refused("event", f"must have at most {LONGEST_NAME} bytes")
    for name in one.properties:
        if name in RESERVED:
            raise refused(f"properties.{name}", "is a name that the vendor keeps for itself")
    ours = {
        "time": round(one.at.timestamp() * 1000),
        "distinct_id": one.user,
        "$insert_id": one.id,
    }
    if len(one.properties) + len(ours) > MOST_PROPERTIES:
        raise refused("properties", f"must be at most {MOST_PROPERTIES - len(ours)}")
    body = orjson.dumps({"event": one.event, "properties": {**one.properties, **ours}})
    if len(body) > MOST_BYTES:
        raise refused("properties", "the event is larger than the vendor takes", code="too_large")
    return Record(one.id, body)


def person(one: Person) -> Record:
    """The same for a person. In seconds, as the official packages have it."""
    _user(one.user)
    if not one.traits:
        raise refused("traits", "must have at least one")
    for name in one.traits:
        if name in RESERVED:
            raise refused(f"traits.{name}", "is a name that the vendor keeps for itself")
    traits = orjson.dumps(one.traits)
    if PLACE.encode() in traits or PLACE in one.user:
        raise refused("traits", f"must not contain {PLACE}")
    body = orjson.dumps(
        {
            "$token": PLACE,
            "$distinct_id": one.user,
            "$time": round(one.at.timestamp(), 3),
            "$set": orjson.Fragment(traits),
        }
    )
    if len(body) > MOST_BYTES:
        raise refused("traits", "are larger than the vendor takes", code="too_large")
    return Record(one.id, body)


def imported(call: Call, step: str, answer: Response, records: Sequence[Record]) -> Outcome:
    """What became of events. Of a 400 that names records, the others were taken."""
    if answer.status == 413:
        call.answered(step)
        raise Whole(TOO_LARGE, status=413, large=True)
    told = document(answer)
    if answer.status in (200, 400) and isinstance(told, dict) and "num_records_imported" in told:
        troubles = _troubles(answer, told, records)
        call.answered(step)
        return Outcome(troubles)
    if not 400 <= answer.status < 500:
        raise unread(answer)
    call.answered(step)
    raise Whole(REFUSED, status=answer.status)


def engaged(call: Call, step: str, answer: Response) -> Outcome:
    """What became of people: it stands in the body, the status is 200 in any case."""
    if answer.status == 413:
        call.answered(step)
        raise Whole(TOO_LARGE, status=413, large=True)
    told = document(answer)
    status = told.get("status") if isinstance(told, dict) else told
    if answer.status == 200 and status == 1 and status is not True:
        call.answered(step)
        return Outcome()
    if (answer.status == 200 and status == 0 and status is not False) or 400 <= answer.status < 500:
        call.answered(step)
        raise Whole(REFUSED, status=answer.status)
    raise unread(answer)


def _troubles(
    answer: Response, told: Mapping[str, Any], records: Sequence[Record]
) -> dict[int, Trouble]:
    """Raises Unknown where it does not account for each record that was sent."""
    found: dict[int, Trouble] = {}
    try:
        for failed in told.get("failed_records") or ():
            found[int(failed["index"])] = _trouble(failed.get("field"))
            if failed.get("insert_id", "") not in ("", records[int(failed["index"])].id):
                raise unread(answer)
        taken = int(told["num_records_imported"])
    except (LookupError, TypeError, ValueError, AttributeError):
        raise unread(answer) from None
    if taken + len(found) != len(records) or min(found, default=0) < 0:
        raise Unknown("the vendor counts other records than were sent", status=answer.status)
    return found


def _trouble(told: object) -> Trouble:
    """Not Mixpanel's own sentence, which may repeat a value."""
    name = named(told)
    field = FIELDS.get(name, name) if name else None
    where = f"{field}: " if field else ""
    return Trouble("invalid_arguments", f"{where}the vendor does not take it", field)


def _user(user: str) -> None:
    if user.strip().lower() in NOBODY:
        raise refused("user", "is no user's id to the vendor")
    if len(user.encode()) > LONGEST_NAME:
        raise refused("user", f"must have at most {LONGEST_NAME} bytes")


def _time(at: datetime) -> None:
    if at < EARLIEST:
        raise refused("at", "must not be before 1971")
    if at > datetime.now(UTC) + AHEAD:
        raise refused("at", "must not be more than an hour ahead")
