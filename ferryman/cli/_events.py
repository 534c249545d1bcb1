"""The lines of a file of events, each an order for a job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from ferryman.cli import _input, _show
from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman._order import Order

KIND = "track_event"
LONGEST = 1_048_576
# So many lines are told of; who has more of them has the same mistake in all.
MOST_TOLD = 10

Numbered = tuple[int, "Order"]


def checked(file: BinaryIO, name: str, vendor: str | None) -> int:
    """How many events there are, each of them in order. Raises InvalidArguments, after every line
    at fault was told of."""
    count, wrong = 0, 0
    for number, found in _read(file, vendor):
        count += 1
        if isinstance(found, InvalidArguments):
            wrong += 1
            if wrong <= MOST_TOLD:
                _show.note(f"{name} line {number}: {found}")
    if wrong > MOST_TOLD:
        _show.note(f"and {wrong - MOST_TOLD:,} more lines")
    if wrong:
        lines = "1 line" if wrong == 1 else f"{wrong:,} lines"
        raise InvalidArguments(name, f"has {lines} that cannot be sent; nothing was stored")
    if not count:
        raise InvalidArguments(name, "has no event in it")
    return count


def orders(file: BinaryIO, vendor: str | None) -> Iterator[Numbered]:
    """Each with the number of its line. Raises InvalidArguments where the file is another one than
    it was when it was checked."""
    for number, found in _read(file, vendor):
        if isinstance(found, InvalidArguments):
            raise found
        yield number, found


def _read(file: BinaryIO, vendor: str | None) -> Iterator[tuple[int, Order | InvalidArguments]]:
    file.seek(0)
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        try:
            if order := _order(line, vendor):
                yield number, order
        except InvalidArguments as error:
            yield number, error
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = file.readline(LONGEST + 1)


def _order(line: bytes, vendor: str | None) -> Order | None:
    """None for an empty line. Raises InvalidArguments."""
    from ferryman._order import order

    if len(line) > LONGEST:
        raise InvalidArguments("event", "is longer than 1 MiB")
    # Spreadsheets put a byte order mark first.
    text = line.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return None
    event = _object(text)
    key = event.pop("key", None)
    return order(KIND, event, key=key, vendor=vendor)


def _object(text: bytes) -> dict[str, Any]:
    try:
        return _input.json_object("event", text.decode())
    except UnicodeDecodeError:
        raise InvalidArguments("event", "is not UTF-8") from None
