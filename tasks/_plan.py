"""Who gets a mail of a batch, in which request, and who is set aside at once: recipient by
recipient, in bounded memory, as lines for COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import orjson
import uuid_utils
from uuid_utils.compat import uuid7

from ferryman import addresses
from ferryman.requests._mail import NEEDS_TEMPLATE
from models.mail_plan import Part
from tasks._base import Refusal
from tasks._unsubscribe import Unfit, Unsubscribe

Row = dict[str, Any]
Recipient = tuple[int, str, Row | None]
"""Place in the list (a line, or a number from 1), address, data."""

NULL = "\\N"
# Neither a status nor a reason.
OPEN = f"\t{NULL}\t{NULL}\n"
# Beside all data, in a request: the address, our ids, names and brackets.
OVERHEAD_BYTES = 400
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Planner:
    """Cuts recipients into requests of at most `size`, whose data takes at most `most_bytes`: of
    each his own, and the `shared_bytes` that all have. Raises Refusal where that is too much.

    `problem`: what keeps the vendor from sending to a valid address. Without `takes_data` (there is
    no template) data of a recipient's own is a mistake in the whole list.
    """

    def __init__(
        self,
        batch: UUID,
        vendor: str,
        *,
        size: int,
        most_bytes: int,
        shared_bytes: int,
        problem: Callable[[str], str | None],
        takes_data: bool,
        unsubscribe: Unsubscribe,
    ) -> None:
        self.parts: list[Part] = []
        self.invalid = 0
        self.first = self.last = uuid7()
        self._shared = f"\t{batch}\t{vendor}\t"
        self._batch = batch
        self._size = size
        self._most = most_bytes
        self._overhead = OVERHEAD_BYTES + shared_bytes
        self._most_each = most_bytes - self._overhead
        if self._most_each <= 0:
            raise Refusal("too_large", "data: is larger than a whole request may be")
        self._problem = problem
        self._takes_data = takes_data
        self._unsubscribe = unsubscribe
        self._begin()

    def lines(self, recipients: Iterable[Recipient]) -> bytes:
        """A line for each. For a thread: a million take a processor some seconds. Raises
        Refusal."""
        made = []
        overhead = self._overhead
        strict = self._unsubscribe.asks or not self._takes_data
        # Written out, not in functions: at a million each call is a second of a processor.
        for place, to, data in recipients:
            email_id = uuid_utils.uuid7()
            written = orjson.dumps(data).decode() if data else ""
            try:
                address = addresses.normalised(to.strip())
                if strict or not address.isascii() or len(written) > self._most_each:
                    self._check(place, address, data, len(written))
            except ValueError as error:
                made.append(self._aside(email_id, place, to, written, error))
                continue
            if "\\" in written or "\\" in address:
                written, address = written.translate(ESCAPES), address.translate(ESCAPES)
            needed = len(written) + overhead
            if self._count == self._size or needed > self._bytes:
                self.close()
            self._count += 1
            self._bytes -= needed
            made.append(
                f"{email_id}\t{self._part}{self._shared}{place}\t{address}\t{written or NULL}{OPEN}"
            )
        return "".join(made).encode()

    def close(self) -> None:
        """The part at hand is complete, or all were given."""
        if self._count:
            self.parts.append(Part(self._part, len(self.parts) + 1, self._count))
        self._begin()

    def _begin(self) -> None:
        # Ids grow: all that were made until now lie between the first and this one.
        self._part = self.last = uuid7()
        self._count, self._bytes = 0, self._most

    def _check(self, place: int, address: str, data: Row | None, size: int) -> None:
        """Raises ValueError for what concerns this recipient, Refusal for what concerns all."""
        if data and not self._takes_data:
            raise Refusal("invalid_arguments", f"upload: line {place}: `data` {NEEDS_TEMPLATE}")
        if not address.isascii() and (problem := self._problem(address)):
            raise ValueError(problem)
        if size > self._most_each:
            raise Unfit("data: is larger than a whole request may be")
        self._unsubscribe.check(data)

    def _aside(self, email_id: Any, place: int, to: str, data: str, error: ValueError) -> str:
        self.invalid += 1
        reason = str(error) if isinstance(error, Unfit) else f"to: {error}"
        columns = (to.translate(ESCAPES), data.translate(ESCAPES) or NULL, "invalid", reason)
        return f"{email_id}\t{self._batch}{self._shared}{place}\t" + "\t".join(columns) + "\n"
