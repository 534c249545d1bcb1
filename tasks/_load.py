"""A load: jobs of one kind that wait for their vendor are taken, sent in one request, and told what
became of each.

It is filled when it runs, by the bytes that will leave. It runs once: whatever stops it, its riders
wait again and go in another (`worker.disbanded`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import VendorError
from adapters._records import Outcome, Record, Trouble
from ferryman import requests
from ferryman.errors import InvalidArguments
from models import loads
from models.loads import Odd, Rider
from tasks import _fates
from tasks._base import Attempt, Done, Job, NotHeld
from tasks._record import patiently
from tasks._riding import Parcel, Rides, Taken
from tasks._split import Delivery, Sizes, deliver

log = structlog.get_logger()

Asked = TypeVar("Asked", bound=requests.Request)
# What stands around the records of a request.
FRAME_BYTES = 1024
SIZES = Sizes()


@dataclass
class Cargo:
    """What a load carries, and who waited for it and ends without."""

    parcels: Sequence[Parcel] = ()
    ended: list[Odd] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [record for parcel in self.parcels for record in parcel.records]

    @property
    def bytes(self) -> int:
        return sum(parcel.bytes for parcel in self.parcels)


class Load(Job[Asked]):
    """The job that carries those of one kind."""

    one_run = True
    deadline_seconds = 300.0
    carries: ClassVar[Rides[Any]]

    async def run(self, attempt: Attempt[Asked]) -> Done:
        cargo = await self._take(attempt)
        if not cargo.parcels:
            return Done({"records": 0})
        send = self.carries.send(attempt.adapter)

        async def leave(records: Sequence[Record], step: str) -> Outcome:
            return await send(attempt.call, records, step)

        most_bytes = SIZES.most(attempt.vendor, attempt.policy.batch_bytes)
        delivery = await deliver(leave, cargo.records, most_bytes)
        if delivery.large is not None:
            SIZES.too_large(attempt.vendor, delivery.large)
        await self._settle(attempt, cargo, delivery)
        told = {"records": len(cargo.records), "refused": len(delivery.troubles)}
        return Done(told | {"requests": len(delivery.steps), "bytes": cargo.bytes})

    async def _take(self, attempt: Attempt[Asked]) -> Cargo:
        """All in one transaction. To read and write a few thousand records takes a processor some
        milliseconds, so a thread does it."""
        kind, vendor, policy = self.carries.request.kind, attempt.vendor, attempt.policy
        async with attempt.held() as connection:
            riders = await loads.look(connection, vendor, kind, policy.batch_size)
            cargo = await asyncio.to_thread(self._read, attempt, riders)
            free, put_off = await self.carries.free(connection, vendor, cargo.parcels)
            cargo.ended += put_off
            most_bytes = SIZES.most(vendor, policy.batch_bytes) - FRAME_BYTES
            cargo.parcels = _fitting(free, policy.batch_size, most_bytes)
            await self.carries.reserve(connection, attempt.id, vendor, cargo.parcels)
            await loads.take(
                connection,
                attempt.id,
                [parcel.rider for parcel in cargo.parcels],
                cargo.ended,
                records=len(cargo.records),
                bytes=cargo.bytes,
            )
        return cargo

    def _read(self, attempt: Attempt[Asked], riders: Sequence[Rider]) -> Cargo:
        read = [self._parcel(attempt, rider) for rider in riders]
        parcels = [one for one in read if isinstance(one, Parcel)]
        return Cargo(parcels, [one for one in read if isinstance(one, Odd)])

    def _parcel(self, attempt: Attempt[Asked], rider: Rider) -> Parcel | Odd:
        """No rider's defect may hold up the others, so each error is its own."""
        if (end := _fates.before(rider)) is not None:
            return end
        try:
            args = requests.validate(self.carries.request.kind, rider.args)
            parcel = self.carries.parcel(attempt.adapter, rider, args)
        except (VendorError, InvalidArguments) as error:
            return _fates.unfit(rider, error)
        except Exception as error:
            log.warning("rider.defect", job_id=str(rider.id), error=type(error).__name__)
            return _fates.unfit(rider, error)
        if parcel.records:
            return parcel
        end = _fates.after(parcel, parcel.troubles, attempt.vendor, attempt.policy)
        assert end is not None
        return end

    async def _settle(self, attempt: Attempt[Asked], cargo: Cargo, delivery: Delivery) -> None:
        """What the vendor has said of each is on record in one transaction. Raises NotHeld where
        the riders are another load's by now; the exchange is kept all the same."""
        odd: list[Odd] = []
        taken: list[Taken] = []
        for parcel, first in _placed(cargo.parcels):
            troubles = _of(parcel, first, delivery)
            end = _fates.after(parcel, troubles, attempt.vendor, attempt.policy)
            if end is None:
                taken.append((parcel, delivery.references.get(first)))
                end = self._succeeded(attempt.vendor, *taken[-1])
            odd += [end] if end else []
        shared = {"vendor": attempt.vendor, "status": self.carries.status}
        told = (shared, odd, delivery.steps, attempt.interactions())

        async def settle(connection: AsyncConnection) -> int:
            riders = await loads.settle(connection, attempt.id, attempt.fence, *told)
            if riders:
                await self.carries.saved(connection, attempt.vendor, taken)
            return riders

        if not await patiently(attempt.ledger, settle):
            raise NotHeld

    def _succeeded(self, vendor: str, parcel: Parcel, reference: str | None) -> Odd | None:
        result = self.carries.result(vendor, parcel, reference)
        return Odd(parcel.rider.id, "succeeded", result=result) if result else None


def _placed(parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, int]]:
    """Each with the place of its first record in the load."""
    first = 0
    for parcel in parcels:
        yield parcel, first
        first += len(parcel.records)


def _of(parcel: Parcel, first: int, delivery: Delivery) -> dict[int, Trouble]:
    """The troubles of one rider's records, by their places among its own."""
    here = {own: delivery.troubles.get(at) for at, own in enumerate(parcel.places, first)}
    return {**parcel.troubles} | {own: one for own, one in here.items() if one is not None}


def _fitting(parcels: Sequence[Parcel], most: int, most_bytes: int) -> list[Parcel]:
    """As many as one request takes, in their order, each as a whole. One that is too large for any
    goes alone, and is cut there."""
    records = size = 0
    chosen: list[Parcel] = []
    for parcel in parcels:
        records += len(parcel.records)
        size += parcel.bytes
        if chosen and (records > most or size > most_bytes):
            break
        chosen.append(parcel)
    return chosen
