"""What survives a kill? Rows, appended to a file of JSON lines before the answer goes out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import orjson


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=HasId)


class Journal:
    """An append-only file of rows. Without a path nothing is kept and nothing costs anything."""

    def __init__(self, path: Path | None) -> None:
        self.lines = 0
        self._rows: dict[str, dict[str, Any]] = {}
        self._pending: list[bytes] = []
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._load()

    def _load(self) -> None:
        assert self._file is not None
        with os.fdopen(os.dup(self._file), "rb") as file:
            content = file.read()
        # A kill may leave half a line; what was half written was never answered.
        whole = content[: content.rfind(b"\n") + 1]
        os.ftruncate(self._file, len(whole))
        os.lseek(self._file, len(whole), os.SEEK_SET)
        for line in whole.splitlines():
            entry = orjson.loads(line)
            self._rows.setdefault(entry["table"], {})[entry["id"]] = entry["row"]
            self.lines += 1

    def take(self, table: str) -> dict[str, Any]:
        """The rows of a table that an earlier process left, by id, in order of first writing."""
        return self._rows.pop(table, {})

    def append(self, table: str, id: str, row: bytes) -> None:
        """Adds a row, given as JSON; a later row of the same id replaces it."""
        if self._file is not None:
            self._pending.append(b'{"table":"%b","id":"%b","row":%b}\n' % _encoded(table, id, row))

    def append_object(self, table: str, id: str, row: object) -> None:
        if self._file is not None:
            self.append(table, id, orjson.dumps(row))

    def flush(self) -> None:
        """Hands what is pending to the kernel: from there on a kill of this process loses nothing.

        The write blocks the loop for some microseconds; that is the price of being certain."""
        if self._pending and self._file is not None:
            os.write(self._file, b"".join(self._pending))
            self._pending.clear()

    def clear(self) -> None:
        self._rows.clear()
        self._pending.clear()
        self.lines = 0
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)


def _encoded(table: str, id: str, row: bytes) -> tuple[bytes, bytes, bytes]:
    return table.encode(), orjson.dumps(id)[1:-1], row


class Table(Generic[Row]):
    """The rows of one kind, by id, oldest first."""

    def __init__(self, journal: Journal, name: str, row_type: type[Row]) -> None:
        self._journal = journal
        self._name = name
        self.rows: dict[str, Row] = {
            key: row_type(**row) for key, row in journal.take(name).items()
        }

    def get(self, id: str) -> Row | None:
        return self.rows.get(id)

    def put(self, row: Row) -> Row:
        """Keeps a new row, or says that a known one has changed."""
        self.rows[row.id] = row
        self._journal.append_object(self._name, row.id, row)
        return row

    def newest_first(self) -> Iterator[Row]:
        return reversed(list(self.rows.values()))
