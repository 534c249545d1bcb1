"""Can this be kept as JSON by PostgreSQL? NUL, NaN, lone surrogates and other types cannot."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

DEEPEST = 32
# What every JSON library on the way reads back exactly.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


class NotJson(ValueError):
    """What is wrong, and the path that leads there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str | int] = []


def check(value: object, depth: int = 0) -> None:
    """Raises NotJson at the first value within that JSON in PostgreSQL has no place for."""
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, dict):
        for name in value:
            _name(name)
        _entries(value.items(), depth)
    elif isinstance(value, list):
        _entries(enumerate(value), depth)
    elif isinstance(value, float):
        if not isfinite(value):
            raise NotJson("must be a finite number")
    elif isinstance(value, int):
        if not _SMALLEST <= value <= _LARGEST:
            raise NotJson("must be a number of at most 64 bits")
    elif value is not None:
        raise NotJson("must be JSON: text, a number, true, false, null, a list or an object")


def _entries(entries: Iterable[tuple[str | int, object]], depth: int) -> None:
    if depth == DEEPEST:
        raise NotJson(f"must not be nested deeper than {DEEPEST} levels")
    for place, value in entries:
        try:
            check(value, depth + 1)
        except NotJson as error:
            error.path.insert(0, place)
            raise


def _name(name: object) -> None:
    if not isinstance(name, str):
        raise NotJson("must have text for each name")
    _text(name)


def _text(text: str) -> None:
    if "\x00" in text:
        raise NotJson("must not contain NUL characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotJson("must be valid Unicode text") from None
