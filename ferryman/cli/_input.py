"""What people give to the command line: JSON, texts, and times."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from ferryman import _times
from ferryman.errors import InvalidArguments


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


def _time(read: Callable[[str, str], datetime], option: str, given: str, short: str) -> datetime:
    try:
        return read(option, given)
    except InvalidArguments as error:
        raise InvalidArguments(error.field, f"{error.message}, or {short}") from None


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
