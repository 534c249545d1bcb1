"""Has a body the form that PayPal documents? Names, types, lengths, patterns, required fields.

In an object's form a name with `*` is required. Names that are not documented are refused here,
while PayPal passes over them: a misspelt one is better found in a test.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from sandbox.paypal.errors import Detail, detail


@dataclass(frozen=True, slots=True)
class Text:
    """A string of `least` to `most` characters that the pattern matches."""

    least: int = 0
    most: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Url:
    """A string that is an absolute address."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these strings."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Many:
    """A list of `least` to `most` things of one form."""

    form: Any
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """An object whose inside this fake does not look at."""


Form = Text | Url | Choice | Flag | Many | Structure | Mapping[str, Any]


def problems(form: Form, value: Any, field: str = "") -> Iterator[Detail]:
    """Everything that is not of the form, by JSON pointer."""
    match form:
        case Text() | Url() | Choice():
            yield from _string(form, value, field)
        case Flag():
            if not isinstance(value, bool):
                yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        case Many():
            yield from _many(form, value, field)
        case Structure():
            if not isinstance(value, dict):
                yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        case _:
            yield from _object(form, value, field)


def _string(form: Text | Url | Choice, value: Any, field: str) -> Iterator[Detail]:
    if not isinstance(value, str):
        yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        return
    match form:
        case Text():
            yield from _text(form, value, field)
        case Url():
            if not _is_url(value):
                yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        case Choice():
            if value not in form.values:
                yield detail("INVALID_PARAMETER_VALUE", field, value)


def _text(form: Text, value: str, field: str) -> Iterator[Detail]:
    if len(value) < form.least or (form.most is not None and len(value) > form.most):
        yield detail("INVALID_STRING_LENGTH", field, value)
    elif form.pattern is not None and not _compiled(form.pattern).search(value):
        yield detail("INVALID_PARAMETER_SYNTAX", field, value)


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # The contract means the end by a dollar, and Python also the place before a last line end.
    return re.compile(pattern.replace("$", r"\Z"))


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def _many(form: Many, value: Any, field: str) -> Iterator[Detail]:
    if not isinstance(value, list):
        yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        return
    if len(value) < form.least:
        yield detail("INVALID_ARRAY_MIN_ITEMS", field)
    if form.most is not None and len(value) > form.most:
        yield detail("INVALID_ARRAY_MAX_ITEMS", field)
    for place, inner in enumerate(value):
        yield from problems(form.form, inner, f"{field}/{place}")


def _object(form: Mapping[str, Any], value: Any, field: str) -> Iterator[Detail]:
    if not isinstance(value, dict):
        yield detail("INVALID_PARAMETER_SYNTAX", field, value)
        return
    for name, inner in value.items():
        its_form = form.get(name, form.get(f"{name}*"))
        if its_form is None:
            yield detail("NOT_SUPPORTED", f"{field}/{name}")
        else:
            yield from problems(its_form, inner, f"{field}/{name}")
    for name in form:
        if name.endswith("*") and name[:-1] not in value:
            yield detail("MISSING_REQUIRED_PARAMETER", f"{field}/{name[:-1]}")
