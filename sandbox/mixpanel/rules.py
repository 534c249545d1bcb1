"""What does Mixpanel take? Each event and each update of a person, looked at by itself."""

import re
import time
from typing import Any

MOST_EVENTS = 2000
MOST_BYTES = 10 * 1024 * 1024
MOST_EVENT_BYTES = 1024 * 1024
MOST_PROPERTIES = 255
MOST_LEVELS = 3
INSERT_ID = re.compile(r"[0-9A-Za-z-]{1,36}")
EARLIEST = 31_536_000
AHEAD_SECONDS = 3600
# From here on a number is one of milliseconds.
MILLISECONDS = 100_000_000_000
# Some of those that it takes for a mistake; the list on its pages is longer.
NOBODY = frozenset(
    {
        *("anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown"),
        "00000000-0000-0000-0000-000000000000",
    }
)
OPERATIONS = {
    "$set": dict,
    "$set_once": dict,
    "$add": dict,
    "$append": dict,
    "$union": dict,
    "$remove": dict,
    "$unset": list,
    "$delete": object,
}
BESIDE = frozenset({"$token", "$distinct_id", "$ip", "$time", "$ignore_time", "$ignore_alias"})

Problem = tuple[str, str]
"""The field, and what is wrong with it."""


def event(given: Any, size: int) -> Problem | None:
    """What is wrong with an event; None: it is taken."""
    if not isinstance(given, dict):
        return "", "event must be an object"
    if not isinstance(given.get("event"), str) or not given["event"]:
        return "event", "'event' is invalid: must not be empty"
    properties = given.get("properties")
    if not isinstance(properties, dict):
        return "properties", "'properties' is invalid: must be an object"
    if size > MOST_EVENT_BYTES:
        return "", "event is larger than 1MB"
    return _shape(properties) or _identity(properties)


def _shape(properties: dict[str, Any]) -> Problem | None:
    if len(properties) > MOST_PROPERTIES:
        return "properties", "'properties' is invalid: must have at most 255 properties"
    if _levels(properties) > MOST_LEVELS:
        return "properties", f"'properties' is invalid: deeper than {MOST_LEVELS} levels"
    return None


def _levels(given: dict[str, Any]) -> int:
    """How deep objects stand within objects, of which the properties are the first."""
    within = [_levels(value) for value in given.values() if isinstance(value, dict)]
    return 1 + max(within, default=0)


def _identity(properties: dict[str, Any]) -> Problem | None:
    if (wrong := _time(properties.get("time"))) is not None:
        return "properties.time", f"'properties.time' is invalid: {wrong}"
    user = properties.get("distinct_id")
    if not isinstance(user, str) or user.lower() in NOBODY:
        return "properties.distinct_id", "'properties.distinct_id' is invalid"
    insert_id = properties.get("$insert_id")
    if not isinstance(insert_id, str) or not INSERT_ID.fullmatch(insert_id):
        return "properties.$insert_id", "'properties.$insert_id' is invalid"
    return None


def _time(given: Any) -> str | None:
    if not isinstance(given, int | float) or isinstance(given, bool):
        return "must be specified as seconds since epoch"
    seconds = given / 1000 if given > MILLISECONDS else given
    if seconds < EARLIEST:
        return "must be after 1971-01-01"
    return "must not be in the future" if seconds > time.time() + AHEAD_SECONDS else None


def person(given: Any, token: str) -> str | None:
    """What is wrong with an update of a person; None: it is taken."""
    if not isinstance(given, dict):
        return "data must be an object"
    if given.get("$token") != token:
        return "token, missing or empty"
    if not isinstance(given.get("$distinct_id"), str) or not given["$distinct_id"]:
        return "distinct_id, missing or empty"
    return _operation(given)


def _operation(given: dict[str, Any]) -> str | None:
    found = given.keys() & OPERATIONS.keys()
    if len(found) != 1:
        return "one operation is expected"
    (operation,) = found
    if strange := given.keys() - found - BESIDE:
        return f"unknown operation {min(strange)}"
    fits = isinstance(given[operation], OPERATIONS[operation])
    return None if fits else f"{operation} has the wrong type"
