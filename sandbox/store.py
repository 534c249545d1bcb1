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
        self._rows: dict[str, dict[str, bytes]] = {}
        self._pending: list[bytes] = []
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._load(self._file)

    def _load(self, file: int) -> None:
        whole = 0
        with os.fdopen(os.dup(file), "rb") as lines:
            for line in lines:
                # A kill may leave half a line; what was half written was never answered.
                if line.endswith(b"\n"):
                    whole += len(line)
                    self._read(line)
        os.ftruncate(file, whole)
        os.lseek(file, whole, os.SEEK_SET)

    def _read(self, line: bytes) -> None:
        # Only a quote that ends the id stands before a comma: those within it are escaped.
        head, _, row = line.partition(b',"row":')
        named = orjson.loads(head + b"}")
        self._rows.setdefault(named["table"], {})[named["id"]] = row[:-2]
        self.lines += 1

    def take(self, table: str) -> dict[str, Any]:
        """The rows of a table that an earlier process left, by id, in order of first writing."""
        return {key: orjson.loads(row) for key, row in self._rows.pop(table, {}).items()}

    def take_encoded(self, table: str) -> Iterator[bytes]:
        """The same as JSON, each forgotten as it is taken: there may be more than memory holds."""
        rows = self._rows.pop(table, {})
        for key in list(rows):
            yield rows.pop(key)

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
