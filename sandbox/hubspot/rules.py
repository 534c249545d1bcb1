"""What does HubSpot take of a contact? Each input of a batch, looked at by itself."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from sandbox.hubspot.portal import CHOICES, Portal

MOST_INPUTS = 100
EMAIL = re.compile(r"[^@\s,;<>]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]{2,}")
FIELDS = {"id", "idProperty", "properties", "objectWriteTraceId"}

Error = dict[str, Any]


def batch(portal: Portal, given: Any) -> Error | None:
    """What is wrong with a batch as a whole."""
    inputs = given.get("inputs") if isinstance(given, dict) else None
    if not isinstance(inputs, list) or not inputs or len(inputs) > MOST_INPUTS:
        return invalid(f"inputs must have 1 to {MOST_INPUTS} entries")
    if wrong := next((problem for one in inputs if (problem := _shape(one))), None):
        return invalid(wrong)
    names = Counter((one.get("idProperty", "id"), one["id"].lower()) for one in inputs)
    if any(count > 1 for count in names.values()):
        return invalid("Duplicate IDs found in batch input")
    traces = [one.get("objectWriteTraceId") for one in inputs]
    if len({trace for trace in traces if trace}) < sum(map(bool, traces)):
        return invalid("objectWriteTraceId must be unique within a batch")
    return _identified(portal, inputs)


def _identified(portal: Portal, inputs: Sequence[Any]) -> Error | None:
    for one in inputs:
        if one.get("idProperty") not in portal.settings.unique:
            return invalid(f"Property {one.get('idProperty')} is not a unique identifier")
    return None


def _shape(one: Any) -> str | None:
    if not isinstance(one, dict) or one.keys() - FIELDS:
        return "an input has an unknown field"
    if not isinstance(one.get("id"), str) or not one["id"]:
        return "Some required fields were not set: [id]"
    properties = one.get("properties")
    if not isinstance(properties, dict):
        return "Some required fields were not set: [properties]"
    if any(not isinstance(value, str) for value in properties.values()):
        return "Cannot deserialize value of type `java.lang.String`"
    return None


def contact(portal: Portal, properties: dict[str, str]) -> Error | None:
    """What is wrong with a contact's properties."""
    for name, value in properties.items():
        if not portal.known(name):
            said = f'Property "{name}" does not exist'
            return invalid(said, code="PROPERTY_DOESNT_EXIST", context={"propertyName": [name]})
        if name == "email" and value and not EMAIL.fullmatch(value):
            return _value(name, f"Email address {value} is invalid", "INVALID_EMAIL")
        if name in CHOICES and value not in CHOICES[name]:
            return _value(name, f"{value} was not one of the allowed options", "INVALID_OPTION")
    return None


def _value(name: str, said: str, word: str) -> Error:
    told = [{"isValid": False, "message": said, "error": word, "name": name}]
    return invalid(f"Property values were not valid: {orjson.dumps(told).decode()}")


def invalid(message: str, **within: Any) -> Error:
    """As HubSpot words a mistake."""
    error: Error = {"status": "error", "category": "VALIDATION_ERROR", "message": message}
    return error | ({"errors": [{"message": message, **within}]} if within else {})
