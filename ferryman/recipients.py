"""Lists of recipients, read while they come: CSV, JSON lines, or one JSON list.

What is checked here is the form, and a fault is told with its line. Memory holds a piece and what
was read of it, whatever the size of the whole.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ferryman._rows import BadList, Form, Row
from ferryman._rows_csv import Csv
from ferryman._rows_json import JsonLines, JsonList
from ferryman.errors import InvalidArguments

__all__ = [
    "FORMATS",
    "BadList",
    "Reader",
    "Row",
    "check_format",
    "chunks",
    "first_data",
    "parts",
    "rows",
]

FORMATS = ("csv", "json", "jsonl")
_FORMS: dict[str, Callable[[], Form]] = {"csv": Csv, "json": JsonList, "jsonl": JsonLines}
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LONGEST_MARK = len(codecs.BOM_UTF8)
# Read at once. Of a mebibyte Python's collector of garbage would go over what is read so far again
# and again, and that takes as long as the reading.
_AT_ONCE = 65_536


class Reader:
    """Takes a list's bytes in pieces of any size. `rows`: how many recipients it has told of."""

    def __init__(self, format: str) -> None:
        check_format(format)
        self.rows = 0
        self._unit = "entry" if format == "json" else "line"
        self._form = _FORMS[format]()
        self._text = _Text()

    def feed(self, piece: bytes) -> list[Row]:
        """The recipients that are complete with this piece. Raises BadList."""
        found = list[Row]()
        for part in parts(piece):
            found += self._read(part, last=False)
        return found

    def close(self) -> list[Row]:
        """The recipients in the rest. Raises BadList, also where there was none at all."""
        found = self._read(b"", last=True)
        if not self.rows:
            raise BadList(self._form.number, "is the end, without any recipient", self._unit)
        return found

    def _read(self, piece: bytes, *, last: bool) -> list[Row]:
        text, wrong = self._text.decode(piece, last=last)
        # What stands before a bad byte may be at fault itself, and is told first.
        found = self._form.read(text, last=last and not wrong)
        if wrong:
            raise BadList(self._text.line, wrong)
        self.rows += len(found)
        return found


def check_format(format: str) -> None:
    """Raises InvalidArguments."""
    if format not in FORMATS:
        raise InvalidArguments("format", f"must be one of {', '.join(FORMATS)}")


def rows(pieces: Iterable[bytes], format: str) -> Iterator[Row]:
    """The recipients of a list, one by one. Raises BadList."""
    reader = Reader(format)
    for piece in pieces:
        for part in parts(piece):
            yield from reader.feed(part)
    yield from reader.close()


def chunks(pieces: Iterable[bytes], format: str, size: int = 5000) -> Iterator[list[Row]]:
    """The same, so many at a time."""
    found = rows(pieces, format)
    while chunk := list(islice(found, size)):
        yield chunk


def first_data(pieces: Iterable[bytes], format: str) -> tuple[int, str] | None:
    """The line of the first recipient that brings data, and a name in that: of a CSV, the first
    column beside `to`. Raises BadList where a line before is at fault."""
    for number, _, data in rows(pieces, format):
        if data:
            return number, next(iter(data))
    return None


def parts(piece: bytes) -> Iterator[bytes]:
    """As much of it at a time as is best read at once."""
    for start in range(0, len(piece), _AT_ONCE):
        yield piece[start : start + _AT_ONCE]


class _Text:
    """Bytes into text: UTF-8, or UTF-16 with a byte order mark. `line`: the number of the line
    that the text ends in."""

    def __init__(self) -> None:
        self.line = 1
        self._head: bytes | None = b""
        self._encoding = "utf-8"

    def decode(self, piece: bytes, *, last: bool) -> tuple[str, str | None]:
        """The text up to the first byte that is none, and what is wrong with that one."""
        if self._head is not None:
            self._head += piece
            if len(self._head) < _LONGEST_MARK and not last:
                return "", None
            piece, self._head = self._begun(self._head), None
        text, wrong = self._decoded(piece, last)
        if "\0" in text:
            text, wrong = text.partition("\0")[0], "has a NUL character"
        # Lines that end in a carriage return alone come from very old spreadsheets.
        self.line += text.count("\n") or text.count("\r")
        return text, wrong

    def _begun(self, head: bytes) -> bytes:
        """Note the encoding; what follows its mark."""
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                self._encoding, head = encoding, head[len(mark) :]
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        return head

    def _decoded(self, piece: bytes, last: bool) -> tuple[str, str | None]:
        try:
            return self._decoder.decode(piece, last), None
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode(self._encoding)
            return good, "is not UTF-8: save the list in that encoding"
