"""What does Salesforce take of a contact? Each record looked at by itself, in its own words."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.salesforce.org import EXTERNAL_ID, FIELDS, Org

EMAIL = re.compile(r"[^@\s,;<>]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]{2,}")

Error = dict[str, Any]


def error(code: str, message: str, *fields: str) -> Error:
    return {"statusCode": code, "message": message, "fields": list(fields)}


def unknown(given: Mapping[str, Any]) -> str | None:
    """A field that Contact has not; it makes the whole request bad."""
    return next((name for name in given if name not in FIELDS and name != "attributes"), None)


def contact(org: Org, named: str, given: Mapping[str, Any]) -> Error | None:
    """What is wrong with one record."""
    if named.lower() in org.settings.duplicates:
        return error("DUPLICATES_DETECTED", "Use one of these records?")
    if org.settings.locked[named.lower()] > 0:
        org.settings.locked[named.lower()] -= 1
        return error("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
    known = org.contacts.get(named.lower())
    fields = {**(known.fields if known else {}), **given}
    if not fields.get("LastName"):
        message = "Required fields are missing: [LastName]"
        return error("REQUIRED_FIELD_MISSING", message, "LastName")
    return _values(given)


def _values(given: Mapping[str, Any]) -> Error | None:
    for name, value in given.items():
        if name == "attributes" or value is None:
            continue
        if isinstance(value, list | dict):
            return error("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of type", name)
        if len(str(value)) > FIELDS[name]:
            return error("STRING_TOO_LONG", f"{name}: data value too large", name)
        if name == "Email" and not EMAIL.fullmatch(str(value)):
            message = f"Email: invalid email address: {value}"
            return error("INVALID_EMAIL_ADDRESS", message, name)
    return None


def name_of(given: Mapping[str, Any]) -> str | None:
    """What the record is known by."""
    found = given.get(EXTERNAL_ID)
    return found if isinstance(found, str) and found else None
