"""Salesforce's words and ours. Facts:
https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html
and its list of status codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from adapters._base import Call, Misconfigured, Response, Throttled, Unavailable, Unknown
from adapters._crm import Contact, mapped, ours
from adapters._records import (
    REFUSED,
    TOO_LARGE,
    Outcome,
    Record,
    Trouble,
    Whole,
    days_limit,
    document,
    named,
    reference,
    unread,
)
from ferryman.policies import Policy

OBJECT = "Contact"
EMAIL = "Email"
# Others write the same row, or the vendor is short of something: it may go again.
AGAIN = {"UNABLE_TO_LOCK_ROW": 2.0, "SERVER_UNAVAILABLE": 10.0, "CANNOT_EXECUTE_FLOW_TRIGGER": 30.0}
# The day's requests are counted hour by hour: some come back within one.
LIMIT_SECONDS = 3600.0
LIMIT = "REQUEST_LIMIT_EXCEEDED"
# Their codes, and what to say of the field that they name.
CODES = {
    "DUPLICATES_DETECTED": ("duplicate", "a contact like it is there already"),
    "DUPLICATE_VALUE": ("duplicate", "another contact has the same"),
    "DUPLICATE_EXTERNAL_ID": ("duplicate", "several contacts have this external id"),
    "INVALID_EMAIL_ADDRESS": ("invalid_recipient", "the vendor does not take it for an address"),
    "INVALID_FIELD": ("invalid_arguments", "the vendor has no such field"),
    "REQUIRED_FIELD_MISSING": ("invalid_arguments", "the vendor wants it"),
    "STRING_TOO_LONG": ("invalid_arguments", "is longer than the vendor takes"),
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": ("invalid_arguments", "is not one of the choices"),
    "JSON_PARSER_ERROR": ("invalid_arguments", "the vendor cannot read it"),
    "INSUFFICIENT_ACCESS_OR_READONLY": ("account_restricted", "may not be written"),
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": ("account_restricted", "may not be written"),
    "ENTITY_IS_DELETED": ("not_found", "the contact was deleted"),
}
COLUMN = re.compile(r"No such column '(\w{1,80})'")
OTHER = ("refused", "the vendor does not take it")


def contact(one: Contact, policy: Policy) -> Record:
    """Raises RefusedRecord for what a contact has no field for."""
    name = one.external_id or one.email.lower()
    found = mapped(policy, one.fields)
    fields = {there: _value(there, value, policy) for there, value in found.items()}
    row = {"attributes": {"type": OBJECT}, policy.id_field: name, EMAIL: one.email, **fields}
    return Record(one.id, orjson.dumps(row), name.lower())


def _value(there: str, value: Any, policy: Policy) -> Any:
    """Those that we have names for hold text, and a number in one of them would spoil the request
    for all its contacts."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and there in policy.fields.values() else value


async def upserted(
    call: Call, step: str, answer: Response, records: Sequence[Record], policy: Policy
) -> Outcome:
    """What became of each contact: the results stand in the order of the request."""
    told = document(answer)
    if answer.status == 200 and isinstance(told, list) and len(told) == len(records):
        outcome = _each(answer, told, policy)
        call.answered(step)
        return outcome
    if answer.status == 200 and isinstance(told, list):
        raise Unknown("the vendor does not tell of each contact", status=200)
    if not 400 <= answer.status < 500:
        raise unread(answer)
    raise await _whole(call, step, answer, policy)


async def _whole(
    call: Call, step: str, answer: Response, policy: Policy
) -> Whole | Misconfigured | Unavailable:
    """What a request is answered that was not looked into record by record."""
    error = first(answer)
    code = str(error.get("errorCode"))
    if code in AGAIN:
        await call.no_effect(step)
        message = "the vendor is busy with these contacts"
        return Unavailable(message, status=answer.status, retry_after=AGAIN[code])
    if answer.status == 404 or (code == "INVALID_FIELD" and policy.id_field in _fields(error)):
        await call.no_effect(step)
        message = f"the vendor's contacts have no external id {policy.id_field} (vendors.toml)"
        return Misconfigured(message, status=answer.status)
    call.answered(step)
    if answer.status == 413:
        return Whole(TOO_LARGE, status=413, large=True)
    trouble = _trouble(code, _fields(error), policy) if error else REFUSED
    return Whole(trouble, status=answer.status)


def _each(answer: Response, told: Sequence[Any], policy: Policy) -> Outcome:
    troubles: dict[int, Trouble] = {}
    references: dict[int, str] = {}
    try:
        for place, result in enumerate(told):
            if result["success"] is True:
                references[place] = reference(result["id"])
                continue
            error = result["errors"][0]
            troubles[place] = _trouble(str(error["statusCode"]), _fields(error), policy)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise unread(answer) from None
    return Outcome(troubles, references)


def _trouble(code: str, fields: Sequence[str], policy: Policy) -> Trouble:
    """Not Salesforce's own sentence, which may repeat a value."""
    if code in AGAIN:
        message = "the vendor is busy with this contact"
        return Trouble("vendor_unavailable", message, again=AGAIN[code])
    word, message = CODES.get(code, OTHER)
    field = ours(policy, fields[0]) if fields else None
    if field is None and word == "invalid_recipient":
        field = "email"
    return Trouble(word, f"{field}: {message}" if field else message, field)


def first(answer: Response) -> Mapping[str, Any]:
    """The first error of an answer, or an empty one."""
    told = document(answer)
    found = told[0] if isinstance(told, list) and told else told
    return found if isinstance(found, Mapping) else {}


def _fields(error: Mapping[str, Any]) -> list[str]:
    """The fields that an error is about; some are told in its sentence only."""
    told = error.get("fields")
    found = [name for one in told if (name := named(one))] if isinstance(told, list) else []
    column = COLUMN.search(str(error.get("message")))
    return found or ([column[1]] if column else [])


def not_allowed(error: Misconfigured) -> Throttled | Misconfigured:
    """A 403 may be about the day's limit: then the credentials are good."""
    told = first(error.answer) if error.answer else {}
    if told.get("errorCode") == LIMIT:
        return days_limit("some of its hours are over", LIMIT_SECONDS, error.status or 403)
    message = "SALESFORCE_CLIENT_ID may not do this at the vendor"
    return Misconfigured(message, status=error.status)
