"""The recipients of a bulk job, in chunks: those of its arguments, or those of an upload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from ferryman.recipients import BadList, Reader, parts
from models import uploads
from tasks._base import Refusal, Transactions

Row = dict[str, Any]
Recipient = tuple[int, str, Row | None]
"""Place in the list (a line, or a number from 1), address, data."""

AT_ONCE = 1000


async def chunks(
    ledger: Transactions, given: Iterable[tuple[str, Row | None]], upload: str | None
) -> AsyncIterator[Iterable[Recipient]]:
    """The recipients that are given, or else those of the upload: a thousand or so at a time, read
    when they are iterated, which is work for a thread. Raises Refusal for an upload that there is
    not."""
    if upload is not None:
        async for chunk in _uploaded(ledger, UUID(upload)):
            yield chunk
        return
    numbered = ((place, to, data) for place, (to, data) in enumerate(given, 1))
    while chunk := list(islice(numbered, AT_ONCE)):
        yield chunk


async def _uploaded(ledger: Transactions, id: UUID) -> AsyncIterator[Iterable[Recipient]]:
    async with ledger.transaction() as connection:
        known = await uploads.known(connection, id)
    if known is None:
        raise Refusal("not_found", "upload: there is none with that id")
    reader = Reader(known["format"])
    place = read = 0
    while (piece := await _piece(ledger, id, place)) is not None:
        for part in parts(piece):
            yield _read(reader, part)
        place, read = place + 1, read + len(piece)
    if read != known["bytes"]:
        raise Refusal("not_found", "upload: not all of it is there any more: upload it again")
    yield _read(reader, None)


def _read(reader: Reader, part: bytes | None) -> Iterator[Recipient]:
    """The rows that this part completes; None: the last."""
    try:
        yield from reader.close() if part is None else reader.feed(part)
    except BadList as error:  # it was read when it came in: this reader is stricter by now
        raise Refusal("invalid_arguments", f"upload: {error}") from None


async def _piece(ledger: Transactions, id: UUID, place: int) -> bytes | None:
    """One piece, in a transaction of its own: that of the plan is busy with COPY."""
    async with ledger.transaction() as connection:
        return await uploads.piece(connection, id, place)
