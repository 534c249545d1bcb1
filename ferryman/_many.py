"""Enqueue many jobs: checked one by one, stored a thousand at a time, one statement each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Any, overload
from uuid import UUID

from ferryman import _order
from ferryman._door import Answer, door
from ferryman._join import ajoin_many, join_many
from ferryman._order import Order, rows
from ferryman.errors import FerrymanError, InvalidArguments
from ferryman.requests import Request
from ferryman.requests._words import field, unknown

Asked = Request | Order | Mapping[str, Any]

CHUNK = 1000
# Keys are locked in their order by one statement: within a transaction of the application's, which
# holds them to its end, there had better be few statements.
JOINED_CHUNK = 10_000
FIELDS = ("kind", "args", "key", "run_at", "expires_at", "priority", "vendor")


class Ids(Sequence[UUID]):
    """The ids of many jobs, at 16 bytes each."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // 16

    @overload
    def __getitem__(self, place: int) -> UUID: ...
    @overload
    def __getitem__(self, place: slice) -> list[UUID]: ...
    def __getitem__(self, place: int | slice) -> UUID | list[UUID]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        start = range(len(self))[place] * 16
        return UUID(bytes=bytes(self._bytes[start : start + 16]))

    def add(self, ids: Iterable[UUID]) -> None:
        self._bytes += b"".join([one.bytes for one in ids])


def order(
    asked: str | Request,
    /,
    *,
    key: str | None = None,
    run_at: datetime | str | None = None,
    expires_at: datetime | str | None = None,
    priority: str = "normal",
    vendor: str | None = None,
    **args: Any,
) -> Order:
    """One of many jobs, given as to `enqueue`. Raises InvalidArguments."""
    return _order.order(
        asked, args, key=key, run_at=run_at, expires_at=expires_at, priority=priority, vendor=vendor
    )


def enqueue_many(jobs: Iterable[Asked], /, *, connection: Any = None) -> Sequence[UUID]:
    """Store many jobs; returns their ids, in order.

    Each is a request such as `ferryman.Charge(…)`, an order such as `ferryman.order("charge",
    key=…, …)`, or a mapping of `kind`, `args` and what else `enqueue` takes. A list is checked
    whole before anything is stored; anything else is read, checked and stored by the thousand, in
    a transaction each. `connection`: store them within this transaction, all or none.

    Raises what `enqueue` raises; the message begins with the place, such as `jobs[17].amount`, and
    the error's `stored` tells what is stored nevertheless. What only the ledger can tell (a key
    with other arguments, or in an open transaction) keeps that one job out of its thousand.
    """
    made = Ids()
    if connection is None:
        _store(jobs, made)
    else:
        for chunk in _chunks(jobs, JOINED_CHUNK):
            made.add(join_many(connection, rows(chunk), len(made)))
    return made


async def aenqueue_many(jobs: Iterable[Asked], /, *, connection: Any = None) -> Sequence[UUID]:
    """`enqueue_many` for event loops; `connection` is then an asynchronous one. Without it, `jobs`
    are read in a thread."""
    if connection is None:
        return await asyncio.to_thread(enqueue_many, jobs)
    made = Ids()
    for chunk in _chunks(jobs, JOINED_CHUNK):
        made.add(await ajoin_many(connection, rows(chunk), len(made)))
    return made


def _store(jobs: Iterable[Asked], made: Ids) -> None:
    """One chunk is stored while the next one is read and checked."""
    under_way: list[Future[list[Answer]]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="ferryman-enqueue") as thread:
        try:
            for chunk in _chunks(jobs, CHUNK):
                _settle(under_way, made)
                under_way.append(thread.submit(door().enqueue_many, chunk))
            _settle(under_way, made)
        except Exception as error:
            _settle(under_way, made)
            _tell(error, made)
            raise


def _settle(under_way: list[Future[list[Answer]]], made: Ids) -> None:
    """Wait for the chunk under way, if there is one. Raises the first error of its jobs."""
    if not under_way:
        return
    answers = under_way.pop().result()
    for place, answer in enumerate(answers):
        if isinstance(answer, FerrymanError):
            error = _placed(answer, len(made) + place)
            error.stored = [*made, *(a if isinstance(a, UUID) else None for a in answers)]
            raise error
    made.add(answer for answer in answers if isinstance(answer, UUID))


def _tell(error: Exception, made: Ids) -> None:
    if not isinstance(error, FerrymanError):
        error.add_note(f"ferryman: the first {len(made)} jobs are stored")
    elif not error.stored:
        error.stored = made


def _placed(error: FerrymanError, place: int) -> FerrymanError:
    if isinstance(error, InvalidArguments):
        return InvalidArguments(f"jobs[{place}].{error.field}", error.message)
    return type(error)(f"jobs[{place}]: {error}")


def _chunks(jobs: Iterable[Asked], size: int) -> Iterator[list[Order]]:
    if isinstance(jobs, Sequence):
        orders: Iterator[Order] = iter(list(_orders(jobs)))
    else:
        orders = _orders(jobs)
    while chunk := list(islice(orders, size)):
        yield chunk


def _orders(jobs: Iterable[Asked]) -> Iterator[Order]:
    for place, asked in enumerate(jobs):
        try:
            yield _ordered(asked)
        except InvalidArguments as error:
            raise _placed(error, place) from None


def _ordered(asked: Asked) -> Order:
    if isinstance(asked, Order):
        return asked
    if isinstance(asked, Request):
        return _order.order(asked, {})
    if not isinstance(asked, Mapping):
        raise InvalidArguments("job", "must be a request, an order or a mapping")
    if strange := [name for name in asked if name not in FIELDS]:
        raise InvalidArguments(field(strange[:1]), unknown(str(strange[0]), FIELDS))
    manner = {name: value for name, value in asked.items() if name not in ("kind", "args")}
    if manner.get("priority", "") is None:
        del manner["priority"]
    return _order.order(asked.get("kind", ""), asked.get("args", {}), **manner)
