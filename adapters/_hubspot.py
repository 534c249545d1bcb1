"""HubSpot's words and ours. Facts: https://developers.hubspot.com/docs/api-reference/error-handling
(a 207, and the trace id that tells whose error it is), and the contract of the batch upsert."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters._base import Call, Response, Throttled, Unavailable, Unknown
from adapters._crm import EMAIL, Contact, mapped, ours
from adapters._limits import next_day
from adapters._records import (
    REFUSED,
    TOO_LARGE,
    Outcome,
    Record,
    Trouble,
    Whole,
    days_limit,
    document,
    reference,
    refused,
    unread,
)
from ferryman.policies import Policy

TRACE = "objectWriteTraceId"
LONGEST_VALUE = 65_536
# Busy for now: locked by another writer, or moved between data centres.
BUSY = (423, 477)
BUSY_SECONDS = 10.0
# It names the property in a sentence, in JSON within it.
NAMED = re.compile(r'\\?"name\\?"\s*:\s*\\?"(\w{1,100})\\?"')
# Their words, for one contact or within it, and ours.
CODES = {
    "INVALID_EMAIL": ("invalid_recipient", "the vendor does not take it for an address"),
    "PROPERTY_DOESNT_EXIST": ("invalid_arguments", "the vendor has no such property"),
    "INVALID_OPTION": ("invalid_arguments", "is not one of the choices"),
    "READ_ONLY_VALUE": ("account_restricted", "may not be written"),
    "CONFLICT": ("duplicate", "another contact has the same"),
    "OBJECT_NOT_FOUND": ("not_found", "the vendor knows no such contact"),
}
OTHER = ("invalid_arguments", "the vendor does not take it")
AGAIN = frozenset({"RATE_LIMITS", "LOCKED", "TIMEOUT", "INTERNAL_ERROR"})


def contact(one: Contact, policy: Policy) -> Record:
    """Raises RefusedRecord for what HubSpot has no place for."""
    known_by, name = EMAIL, one.email
    if one.external_id is not None:
        if policy.id_field in ("", EMAIL):
            raise refused("external_id", "no property holds it (`id_field` in vendors.toml)")
        known_by, name = policy.id_field, one.external_id
    properties = {there: _text(there, value, policy) for there, value in _given(one, policy)}
    if known_by != EMAIL:
        properties[known_by] = name
    body = {"id": name, "idProperty": known_by, "properties": properties, TRACE: one.id}
    return Record(one.id, orjson.dumps(body), name.lower())


def _given(one: Contact, policy: Policy) -> Iterator[tuple[str, Any]]:
    yield EMAIL, one.email
    yield from mapped(policy, one.fields).items()


def _text(there: str, value: Any, policy: Policy) -> str:
    """Every value is a text there; an empty one clears the property."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    text = str(value)
    if len(text) > LONGEST_VALUE:
        raise refused(ours(policy, there), f"must have at most {LONGEST_VALUE} characters")
    return text


async def upserted(
    call: Call, step: str, answer: Response, records: Sequence[Record], policy: Policy
) -> Outcome:
    """What became of each contact: 207 says that some were not taken."""
    told = document(answer)
    if answer.status in BUSY:
        await call.no_effect(step)
        raise Unavailable(
            "the vendor is busy with these contacts",
            status=answer.status,
            retry_after=BUSY_SECONDS,
        )
    if answer.status in (200, 201, 207) and isinstance(told, dict):
        outcome = _each(answer, told, records, policy)
        call.answered(step)
        return outcome
    if not 400 <= answer.status < 500:
        raise unread(answer)
    call.answered(step)
    if answer.status == 413:
        raise Whole(TOO_LARGE, status=413, large=True)
    raise Whole(_trouble(told, policy) or REFUSED, status=answer.status)


def _each(
    answer: Response, told: Mapping[str, Any], records: Sequence[Record], policy: Policy
) -> Outcome:
    """Raises Unknown where the answer does not account for each contact that was sent."""
    places = {record.id: place for place, record in enumerate(records)}
    names = {record.name: place for place, record in enumerate(records)}
    troubles: dict[int, Trouble] = {}
    references: dict[int, str] = {}
    try:
        for result in told.get("results") or ():
            references[_place(result, places, names, policy)] = reference(result["id"])
        for error in told.get("errors") or ():
            trouble = _trouble(error, policy) or REFUSED
            for place in _places(error, places, names):
                troubles[place] = trouble
    except (LookupError, TypeError, ValueError, AttributeError):
        raise unread(answer) from None
    if len(references.keys() | troubles.keys()) != len(records):
        raise Unknown("the vendor does not tell of each contact", status=answer.status)
    return Outcome(troubles, {at: references[at] for at in references.keys() - troubles.keys()})


def _place(
    result: Mapping[str, Any], places: Mapping[str, int], names: Mapping[str, int], policy: Policy
) -> int:
    if (traced := places.get(str(result.get(TRACE)))) is not None:
        return traced
    properties = result["properties"]
    for known_by in (policy.id_field, EMAIL):
        if (place := names.get(str(properties.get(known_by)).lower())) is not None:
            return place
    raise LookupError(TRACE)


def _places(
    error: Mapping[str, Any], places: Mapping[str, int], names: Mapping[str, int]
) -> list[int]:
    """Of which contacts an error is, by the ids that stand in its context."""
    context = error.get("context") or {}
    traced = [places[trace] for trace in context.get(TRACE) or () if trace in places]
    if traced:
        return traced
    given = [str(one).lower() for one in context.get("ids") or ()]
    found = [names[one] for one in given if one in names]
    if not found:
        raise LookupError(TRACE)
    return found


def _trouble(error: Any, policy: Policy) -> Trouble | None:
    """Not HubSpot's own sentence, which repeats values. None: it is no error of theirs."""
    if not isinstance(error, Mapping):
        return None
    words = {
        str(one.get(name)) for one in (error, *_within(error)) for name in ("category", "code")
    }
    if words & AGAIN:
        return Trouble("vendor_unavailable", "the vendor could not do it now", again=BUSY_SECONDS)
    said = str(error.get("message"))
    found = next((word for word in CODES if word in words or word in said), "")
    code, message = CODES.get(found, OTHER)
    named = _property(error, said) or (EMAIL if code == "invalid_recipient" else None)
    field = ours(policy, named) if named else None
    return Trouble(code, f"{field}: {message}" if field else message, field)


def _property(error: Mapping[str, Any], said: str) -> str | None:
    """The property that an error is about."""
    for one in (error, *_within(error)):
        context = one.get("context")
        if isinstance(context, Mapping):
            for name in ("propertyName", "propertyNames", "name"):
                found = context.get(name)
                first = found[0] if isinstance(found, list) and found else found
                if isinstance(first, str) and re.fullmatch(r"\w{1,100}", first):
                    return first
    found = NAMED.search(said)
    return found[1] if found else None


def _within(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = error.get("errors")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def throttled(error: Throttled, policy: Policy) -> Throttled:
    """A 429 that is about a whole day waits for the day's end."""
    if error.answer is None:
        return error
    told = document(error.answer)
    if not isinstance(told, dict) or told.get("policyName") != "DAILY":
        return error
    ends = next_day(policy.day_ends, datetime.now(UTC))
    seconds = (ends - datetime.now(UTC)).total_seconds()
    return days_limit(f"{ends:%H:%M} UTC", seconds, 429)
