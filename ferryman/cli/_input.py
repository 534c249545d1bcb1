"""What people give to the command line: JSON, texts, and a CSV of recipients."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from ferryman import _times
from ferryman.errors import InvalidArguments

ADDRESS_COLUMN = "to"


def json_object(option: str, given: str) -> dict[str, Any]:
    """A JSON object from a text, or from standard input for `-`. Raises InvalidArguments."""
    text = _standard_input(option) if given == "-" else given
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidArguments(option, f"is not JSON: {place} cannot be read") from None
    except RecursionError:
        raise InvalidArguments(option, "is not usable JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InvalidArguments(option, f"is not usable JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidArguments(option, 'must be a JSON object, such as {"amount": 1250}')
    return found


def text(option: str, given: str | None) -> str | None:
    """A text as it stands, or that of a file for `@FILE`. Raises InvalidArguments."""
    if given is None or not given.startswith("@"):
        return given
    return _file(option, Path(given[1:]))


def later(option: str, given: str) -> datetime:
    """A time, or a span from now. Raises InvalidArguments naming the short forms, too."""
    return _time(_times.later, option, given, "+10m, +2h, +7d from now")


def earlier(option: str, given: str) -> datetime:
    """A time, or a span ago. Raises InvalidArguments naming the short forms, too."""
    return _time(_times.earlier, option, given, "10m, 2h, 7d for that long ago")


@dataclass(frozen=True)
class Recipients:
    """The rows of a CSV, and the line that each begins on."""

    name: str
    rows: list[dict[str, Any]]
    lines: list[int]

    def at_its_line(self, error: InvalidArguments) -> InvalidArguments:
        """An error about `recipients.N` told in terms of the file."""
        first, _, rest = error.field.partition(".")
        number, _, rest = rest.partition(".")
        if first != "recipients" or not number.isdecimal():
            return error
        column = rest.removeprefix("data.")
        return _bad(self.name, self.lines[int(number)], f"column `{column}` {error.message}")


def recipients(path: str) -> Recipients:
    """The recipients of a CSV with a header: the address in column `to`, every other column is
    that recipient's data. `-` is standard input. Raises InvalidArguments naming the line."""
    content = _standard_input(path) if path == "-" else _file("RECIPIENTS", Path(path))
    name = "standard input" if path == "-" else path
    rows, lines = [], []
    for line, row in _rows(name, content):
        address = row.pop(ADDRESS_COLUMN).strip()
        if not address:
            raise _bad(name, line, f"column `{ADDRESS_COLUMN}` must not be empty")
        rows.append({"to": address, "data": row} if row else {"to": address})
        lines.append(line)
    if not rows:
        raise _bad(name, 2, "there are no recipients below the header")
    return Recipients(name, rows, lines)


def _rows(name: str, content: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(StringIO(content, newline=""), strict=True)
    line = 1
    try:
        header = _header(name, next(reader, []))
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                what = f"{len(row)} columns, where the header has {len(header)}"
                raise _bad(name, line, what)
            if row:
                yield line, dict(zip(header, row, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _bad(name, line, str(error)) from None


def _header(name: str, row: list[str]) -> list[str]:
    header = [column.strip() for column in row]
    if ADDRESS_COLUMN not in header:
        raise _bad(name, 1, f"the header must have a column `{ADDRESS_COLUMN}`, between commas")
    if "" in header or len(set(header)) < len(header):
        raise _bad(name, 1, "each column must have a name of its own")
    return header


def _time(read: Callable[[str, str], datetime], option: str, given: str, short: str) -> datetime:
    try:
        return read(option, given)
    except InvalidArguments as error:
        raise InvalidArguments(error.field, f"{error.message}, or {short}") from None


def _bad(name: str, line: int, message: str) -> InvalidArguments:
    return InvalidArguments(f"{name} line {line}", message)


def _file(option: str, path: Path) -> str:
    try:
        # Spreadsheets put a byte order mark first.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidArguments(option, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArguments(option, f"{path} is not UTF-8") from None


def _standard_input(option: str) -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidArguments(option, "standard input is not UTF-8") from None


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a name stands twice in the same object")
        found[name] = value
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
