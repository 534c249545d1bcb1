"""Recipients out of JSON: an object a line, or one list of them, read while it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from ferryman._rows import LONGEST, TOO_LONG, BadList, Row, cut, ill_addressed
from ferryman.requests import _json

FIELDS = ("to", "data")
LONGEST_PATH = 100
# Those of the largest number that is taken.
MOST_DIGITS = 20
SPACE = re.compile(r"[ \t\r\n]*")


class JsonLines:
    def __init__(self) -> None:
        self.number = 1
        self._rest = ""

    def read(self, text: str, *, last: bool = False) -> list[Row]:
        lines, self._rest = cut(self._rest + text, last=last)
        rows = list(self._rows(lines))
        if len(self._rest) > LONGEST:
            raise BadList(self.number, TOO_LONG)
        return rows

    def _rows(self, lines: list[str]) -> Iterator[Row]:
        for line in lines:
            if not line.isspace():
                yield self._row(line)
            self.number += 1

    def _row(self, line: str) -> Row:
        if len(line) > LONGEST:
            raise BadList(self.number, TOO_LONG)
        try:
            return _row(self.number, DECODER.decode(line))
        except json.JSONDecodeError as error:
            raise BadList(self.number, f"is no JSON from column {error.colno} on") from None
        except RecursionError:
            raise BadList(self.number, _TOO_DEEP) from None
        except ValueError as error:
            raise BadList(self.number, str(error)) from None


class JsonList:
    """`number` counts entries."""

    def __init__(self) -> None:
        self.number = 1
        self._rest = ""
        self._state = "before"

    def read(self, text: str, *, last: bool = False) -> list[Row]:
        self._rest += text
        rows = list(self._rows(last))
        if last and self._state != "after":
            raise self._bad("is not there: the list is never closed")
        return rows

    def _rows(self, last: bool) -> Iterator[Row]:
        """What can be read of the rest, which is then taken off it."""
        at = self._space(0)
        if self._state == "before" and at < len(self._rest):
            at = self._opened(at)
        while self._state in ("first", "entry") and at < len(self._rest):
            if self._state == "first" and self._rest[at] == "]":
                self._state, at = "after", self._space(at + 1)
                break
            found = self._entry(at, last)
            if found is None:
                break
            entry, at = found
            yield self._row(entry)
            self.number += 1
        if self._state == "after" and at < len(self._rest):
            raise self._bad("stands after the end of the list")
        self._rest = self._rest[at:]

    def _opened(self, at: int) -> int:
        if self._rest[at] != "[":
            raise self._bad("is not there: the whole must be one list, in square brackets")
        self._state = "first"
        return self._space(at + 1)

    def _entry(self, at: int, last: bool) -> tuple[Any, int] | None:
        """The entry there and where the next one begins; None where its end has not come yet, or
        what follows it."""
        try:
            entry, end = DECODER.raw_decode(self._rest, at)
        except json.JSONDecodeError:
            self._later(at, last, "is no JSON")
            return None
        except RecursionError:
            raise self._bad(_TOO_DEEP) from None
        except ValueError as error:
            raise self._bad(str(error)) from None
        end = self._space(end)
        if end == len(self._rest):
            self._later(at, last, "is the last one: the list is never closed")
            return None
        if self._rest[end] not in ",]":
            raise self._bad("is followed by something else than a comma")
        self._state = "entry" if self._rest[end] == "," else "after"
        return entry, self._space(end + 1)

    def _later(self, at: int, last: bool, wrong: str) -> None:
        if last:
            raise self._bad(wrong)
        if len(self._rest) - at > LONGEST:
            raise self._bad(f"{wrong}, or {TOO_LONG}")

    def _row(self, entry: Any) -> Row:
        try:
            return _row(self.number, entry)
        except ValueError as error:
            raise self._bad(str(error)) from None

    def _space(self, at: int) -> int:
        found = SPACE.match(self._rest, at)
        assert found is not None
        return found.end()

    def _bad(self, message: str) -> BadList:
        return BadList(self.number, message, "entry")


def _row(number: int, entry: Any) -> Row:
    """Raises ValueError."""
    if type(entry) is not dict:
        raise ValueError('must be an object such as {"to": "ada@example.com", "data": {…}}')
    to, data = entry.get("to"), entry.get("data")
    if len(entry) > (1 if data is None and "data" not in entry else 2):
        raise ValueError("has other fields than `to` and `data`")
    if not isinstance(to, str):
        raise ValueError("must have text in `to`")
    if wrong := ill_addressed(to):
        raise ValueError(wrong)
    if data is not None and type(data) is not dict:
        raise ValueError("must have an object in `data`")
    _check("to", to)
    _check("data", data)
    return number, to, data


def _check(field: str, value: Any) -> None:
    try:
        _json.check(value)
    except _json.NotJson as error:
        path = ".".join(map(str, (field, *error.path)))
        raise ValueError(f"{path[:LONGEST_PATH]}: {error.message}") from None


_TOO_DEEP = f"must not be nested deeper than {_json.DEEPEST} levels"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("has a name twice in the same object")
    return made


def _no_constant(_: str) -> NoReturn:
    raise ValueError("has NaN or Infinity, which are no JSON")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("has a number of too many digits")
    return int(digits)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_constant=_no_constant)
