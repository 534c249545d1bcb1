"""Upload a list of recipients, for `bulk_email` and `bulk_sms` to refer to by its id."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO
from uuid import UUID

from ferryman._door import door
from ferryman.errors import InvalidArguments
from ferryman.recipients import Reader, check_format, parts

# So much is sent, checked and kept at a time.
PIECE = 1_048_576
FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_MEDIA_TYPES = {"csv": "text/csv", "json": "application/json", "jsonl": "application/x-ndjson"}
# https://www.rfc-editor.org/rfc/rfc9562#section-5.8: what its bits mean is up to us.
_VERSION, _VARIANT = 0x80, 0x80

Source = str | os.PathLike[str] | BinaryIO | Iterable[Mapping[str, Any]]


def upload(source: Source, format: str | None = None) -> str:
    """Store a list of recipients; returns its id, for `ferryman.BulkEmail(upload=…, …)`.

    `source`: the path of a file, a file opened in binary mode, or mappings of `to` and, for a
    template, `data`. `format` is csv, json or jsonl; by default what the file's name ends in. The
    same list has the same id, and is kept once.

    Raises InvalidArguments where the list has not the form it should have, naming the line (then
    nothing is stored), Unreachable, and MissingSetting.
    """
    with ExitStack() as kept:
        file, found = opened(source, kept)
        if not (named := format or found):
            raise InvalidArguments("format", "must be given: csv, json or jsonl")
        return str(door().upload(file, named)["id"])


async def aupload(source: Source, format: str | None = None) -> str:
    """`upload` for event loops; the list is read in a thread."""
    return await asyncio.to_thread(upload, source, format)


class Identity:
    """The id of a list, made of its format and its bytes."""

    def __init__(self, format: str) -> None:
        self._hash = hashlib.sha256(format.encode() + b"\0")

    def add(self, piece: bytes) -> None:
        self._hash.update(piece)

    def id(self) -> UUID:
        made = bytearray(self._hash.digest()[:16])
        made[6] = made[6] & 0x0F | _VERSION
        made[8] = made[8] & 0x3F | _VARIANT
        return UUID(bytes=bytes(made))


@dataclass
class List:
    """What is known of a list that was read to its end."""

    id: UUID
    format: str
    rows: int
    bytes: int


class Inspection:
    """Checks the form of a list while it comes, and counts."""

    def __init__(self, format: str) -> None:
        self.bytes = 0
        self._format = format
        self._reader, self._identity = Reader(format), Identity(format)

    def add(self, piece: bytes) -> None:
        """Raises BadList."""
        self.bytes += len(piece)
        self._identity.add(piece)
        for part in parts(piece):
            self._reader.feed(part)

    def end(self) -> List:
        """Raises BadList."""
        self._reader.close()
        return List(self._identity.id(), self._format, self._reader.rows, self.bytes)


def inspected(file: BinaryIO, format: str) -> List:
    """What is in the file. Raises BadList."""
    found = Inspection(format)
    for piece in pieces(file):
        found.add(piece)
    return found.end()


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The file from its beginning."""
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


class Body:
    """A file as what is sent: from its beginning, each time it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return pieces(self._file)


def media_type(format: str) -> str:
    """Raises InvalidArguments."""
    check_format(format)
    return _MEDIA_TYPES[format]


def format_of(name: object) -> str | None:
    """The format that a file's name tells."""
    return FORMATS.get(Path(name).suffix.lower()) if isinstance(name, str | os.PathLike) else None


def opened(source: Source, kept: ExitStack) -> tuple[BinaryIO, str | None]:
    """A file that can be read twice while `kept` lasts, and its format where that is known. Raises
    InvalidArguments."""
    if isinstance(source, str | os.PathLike):
        try:
            return kept.enter_context(Path(source).open("rb")), format_of(source)
        except OSError as error:
            raise InvalidArguments("source", f"cannot be read: {error.strerror}") from None
    if isinstance(source, TextIOBase):
        raise InvalidArguments("source", "must be opened in binary mode")
    if hasattr(source, "read"):
        file: Any = source
        told = format_of(getattr(file, "name", None))
        return (file if file.seekable() else _spooled(_read(file), kept)), told
    return _spooled(_lines(source), kept), "jsonl"


def _read(file: BinaryIO) -> Iterator[bytes]:
    """A pipe, whose beginning is where it stands."""
    while piece := file.read(PIECE):
        yield piece


def _lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for entry in entries:
        try:
            yield json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        except (TypeError, ValueError):
            raise InvalidArguments("source", "must be mappings that can be kept as JSON") from None


def _spooled(written: Iterable[bytes], kept: ExitStack) -> BinaryIO:
    made = TemporaryFile()  # noqa: SIM115  # closed with what is kept
    kept.enter_context(made)
    made.writelines(written)
    return made
