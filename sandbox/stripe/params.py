"""Are a request's parameters such as Stripe takes? Form decoding, and a check for each type.

A check gets the parameter's name and its raw value, and returns the value or raises Refused.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.errors import Refused

Check = Callable[[str, Any], Any]
Schema = dict[str, Check]

INTEGER = re.compile(r"-?\d{1,18}")
MOST_METADATA = 50
LONGEST_METADATA_KEY = 40
LONGEST_METADATA_VALUE = 500


def pairs(text: str) -> list[tuple[str, str]]:
    """The names and values of a form. Raises Refused for what is none."""
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise Refused(
            400,
            "Invalid request (check that your POST content type is"
            " application/x-www-form-urlencoded).",
        ) from None


def decode(form: list[tuple[str, str]]) -> dict[str, Any]:
    """Nested values from bracketed names: `a[b]=1` is `{"a": {"b": "1"}}`, lists have numbers."""
    root: dict[str, Any] = {}
    for name, value in form:
        if "[" not in name:
            root[name] = value
            continue
        head, _, rest = name.partition("[")
        node = root.setdefault(head, {})
        *path, last = rest.removesuffix("]").split("][")
        for part in path:
            node = _inner(node, part, name)
        if not isinstance(node, dict):
            raise Refused(400, "Invalid hash", param=name)
        node[last or str(len(node))] = value
    return root


def _inner(node: Any, part: str, name: str) -> Any:
    if not isinstance(node, dict):
        raise Refused(400, "Invalid hash", param=name)
    return node.setdefault(part or str(len(node)), {})


def check(schema: Schema, required: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, checked. Raises Refused: first for unknown ones, as Stripe does."""
    _refuse_unknown(schema, given, "")
    checked = {name: schema[name](name, raw) for name, raw in given.items()}
    for name in required:
        if name not in checked:
            raise Refused(
                400, f"Missing required param: {name}.", code="parameter_missing", param=name
            )
    return checked


def _refuse_unknown(schema: Schema, given: Mapping[str, Any], inside: str) -> None:
    unknown = [f"{inside}[{name}]" if inside else name for name in given if name not in schema]
    if unknown:
        many = "s" if len(unknown) > 1 else ""
        raise Refused(
            400,
            f"Received unknown parameter{many}: {', '.join(unknown)}",
            code="parameter_unknown",
            param=unknown[0],
        )


def _scalar(name: str, raw: Any) -> str:
    if not isinstance(raw, str):
        raise Refused(400, "Invalid string: {...}", param=name)
    if raw == "":
        raise Refused(
            400,
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to"
            f" unset a parameter; however '{name}' cannot be unset. You should remove '{name}'"
            " from your request or supply a non-empty value.",
            code="parameter_invalid_empty",
            param=name,
        )
    return raw


def text(longest: int = 5000) -> Check:
    def text_check(name: str, raw: Any) -> str:
        value = _scalar(name, raw)
        if len(value) > longest:
            raise Refused(
                400,
                f"Invalid string: {value[:20]}...; must be at most {longest} characters",
                param=name,
            )
        return value

    return text_check


def integer(least: int | None = None, most: int | None = None) -> Check:
    def integer_check(name: str, raw: Any) -> int:
        value = _scalar(name, raw)
        if not INTEGER.fullmatch(value):
            raise _not_integer(name, f"Invalid integer: {value}")
        number = int(value)
        if least is not None and number < least:
            raise _not_integer(name, f"This value must be greater than or equal to {least}.")
        if most is not None and number > most:
            raise _not_integer(name, f"This value must be less than or equal to {most}.")
        return number

    return integer_check


def _not_integer(name: str, message: str) -> Refused:
    return Refused(400, message, code="parameter_invalid_integer", param=name)


def flag(name: str, raw: Any) -> bool:
    value = _scalar(name, raw)
    if value not in ("true", "false"):
        raise Refused(400, f"Invalid boolean: {value}", param=name)
    return value == "true"


def choice(*values: str) -> Check:
    def choice_check(name: str, raw: Any) -> str:
        value = _scalar(name, raw)
        if value not in values:
            *most, last = values
            listed = f"{', '.join(most)} or {last}" if most else last
            raise Refused(400, f"Invalid {name}: must be one of {listed}", param=name)
        return value

    return choice_check


def either(*checks: Check) -> Check:
    """What at least one of the checks takes; the last one's refusal where none does."""

    def either_check(name: str, raw: Any) -> Any:
        for one in checks[:-1]:
            try:
                return one(name, raw)
            except Refused:
                continue
        return checks[-1](name, raw)

    return either_check


def unsettable(check_value: Check) -> Check:
    """A parameter whose empty value unsets it: None."""
    return lambda name, raw: None if raw == "" else check_value(name, raw)


def listing(item: Check) -> Check:
    def listing_check(name: str, raw: Any) -> list[Any]:
        if not isinstance(raw, dict) or not all(key.isdecimal() for key in raw):
            raise Refused(400, "Invalid array", param=name)
        return [item(f"{name}[{key}]", raw[key]) for key in sorted(raw, key=int)]

    return listing_check


def fields(schema: Schema, required: tuple[str, ...] = ()) -> Check:
    def fields_check(name: str, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise Refused(400, "Invalid object", param=name)
        _refuse_unknown(schema, raw, name)
        for inner in required:
            if inner not in raw:
                whole = f"{name}[{inner}]"
                raise Refused(
                    400, f"Missing required param: {whole}.", code="parameter_missing", param=whole
                )
        return {key: schema[key](f"{name}[{key}]", value) for key, value in raw.items()}

    return fields_check


def structure(name: str, raw: Any) -> dict[str, Any]:
    """An object whose inside this fake does not look at."""
    if not isinstance(raw, dict):
        raise Refused(400, "Invalid object", param=name)
    return raw


def metadata(name: str, raw: Any) -> dict[str, str]:
    """Up to 50 names of 40 characters with values of 500. An empty value unsets a name."""
    if not isinstance(raw, dict):
        raise Refused(400, "Invalid object", param=name)
    if len(raw) > MOST_METADATA:
        raise Refused(400, f"Metadata can have up to {MOST_METADATA} keys", param=name)
    for key, value in raw.items():
        _check_entry(name, key, value)
    return raw


def _check_entry(name: str, key: str, value: Any) -> None:
    whole = f"{name}[{key}]"
    if not isinstance(value, str):
        raise Refused(400, "Metadata values must be strings", param=whole)
    if len(key) > LONGEST_METADATA_KEY:
        raise Refused(
            400, f"Metadata keys can have up to {LONGEST_METADATA_KEY} characters", param=whole
        )
    if len(value) > LONGEST_METADATA_VALUE:
        raise Refused(
            400,
            f"Metadata values can have up to {LONGEST_METADATA_VALUE} characters, but you passed"
            f" in a value that is {len(value)} characters.",
            param=whole,
        )
