"""Many records in one request, each with an outcome of its own: what that is, in our words."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from adapters._base import Refused, Response, Row, Unavailable, Unknown, VendorError
from adapters._limits import DailyLimit

STEP = "load"
GZIP = "gzip"
# Events are so alike that more effort saves a tenth, and takes three times as long.
EFFORT = 1
MOST_UNPACKED = 16 * 1024 * 1024
LONGEST_NAME = 200


@dataclass(frozen=True)
class Record:
    """One record as the vendor takes it. `id`: ours. `name`: what the vendor knows it by, where
    two records of one request must not have the same."""

    id: str
    body: bytes
    name: str = ""


@dataclass(frozen=True)
class Trouble:
    """Why the vendor has not taken one record. `field`: which of our arguments it is about.
    `again`: it was not the record's fault, and it may go again after so many seconds."""

    code: str
    message: str
    field: str | None = None
    again: float | None = None

    def error(self, status: int | None = None) -> VendorError:
        """The same for a record that was alone in its request."""
        if self.again is not None:
            return Unavailable(self.message, status=status, retry_after=self.again)
        return RefusedRecord(self)


@dataclass(frozen=True)
class Outcome:
    """What became of the records of one request, by their places. Those without trouble were
    taken. `references`: the vendor's own ids of them, where it tells."""

    troubles: Mapping[int, Trouble] = field(default_factory=dict)
    references: Mapping[int, str] = field(default_factory=dict)


class RefusedRecord(Refused):
    """One record that the vendor does not take, or that could not be expressed to it."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message, code=trouble.code)
        self.trouble = trouble

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        # What Celery pickles needs no more.
        return Refused, (self.message,)

    def as_error(self) -> Row:
        named = {"field": self.trouble.field} if self.trouble.field else {}
        return super().as_error() | {"type": "Refused"} | named


class Whole(Refused):
    """The vendor refuses the request, and names none of its records: in halves, those that are good
    go through. `too_large`: it is the size. `trouble`: what it says, which is about the record
    where there is but one."""

    def __init__(self, trouble: Trouble, *, status: int | None = None, large: bool = False) -> None:
        super().__init__(trouble.message, code=trouble.code, status=status)
        self.trouble = trouble
        self.too_large = large

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        return Refused, (self.message,)

    def as_error(self) -> Row:
        named = {"field": self.trouble.field} if self.trouble.field else {}
        return super().as_error() | {"type": "Refused"} | named


TOO_LARGE = Trouble("too_large", "the request is larger than the vendor takes")
REFUSED = Trouble("refused", "the vendor refused the request")


def refused(field: str, message: str, *, code: str = "invalid_arguments") -> RefusedRecord:
    """What cannot be expressed to a vendor, named before anything leaves."""
    return RefusedRecord(Trouble(code, f"{field}: {message}", field))


def packed(parts: Sequence[bytes], before: bytes = b"[", after: bytes = b"]") -> bytes:
    """The records in one JSON text, compressed: the same bytes each time."""
    return gzip.compress(before + b",".join(parts) + after, EFFORT, mtime=0)


def document(answer: Response) -> Any:
    """An answer's JSON, or None. One that was compressed unasked is unpacked: the answer to an
    opaque request comes as the vendor sends it."""
    body = answer.body
    try:
        if answer.headers.get("content-encoding") == GZIP:
            body = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body, MOST_UNPACKED)
        return orjson.loads(body)
    except (zlib.error, orjson.JSONDecodeError):
        return None


def named(found: object) -> str | None:
    """A name that a vendor tells, where it can be kept and shown."""
    usable = isinstance(found, str) and 0 < len(found) <= LONGEST_NAME and found.isprintable()
    return str(found) if usable else None


def reference(found: object) -> str:
    """The vendor's own id of a record. Raises ValueError for what can be none."""
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    if not text.isascii() or named(text) is None:
        raise ValueError("no id of a record")
    return text


def unread(answer: Response) -> Unknown:
    return Unknown("the vendor's answer cannot be read", status=answer.status)


def days_limit(until: str, seconds: float, status: int) -> DailyLimit:
    """The limit of a day is reached: nothing goes before that."""
    message = f"the vendor's daily limit is reached, until {until}"
    return DailyLimit(message, status=status, retry_after=seconds)
