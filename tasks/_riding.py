"""Jobs that travel together: what each brings into the request, and what it hears of it.

Nothing that was sent is kept: a record's id is the job's own, and all else in it comes from the
job's row, which never changes. So it may be sent again, in any company, and is the same record.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import Adapter, Call
from adapters._records import Outcome, Record, Trouble
from ferryman.requests import Request
from models.loads import Odd, Rider
from tasks._base import Attempt, Done, Job

Row = dict[str, Any]
Asked = TypeVar("Asked", bound=Request)
Send = Callable[[Call, Sequence[Record], str], Awaitable[Outcome]]
"""One request with these records, under that step's name."""


@dataclass(frozen=True)
class Parcel:
    """What a rider brings. `troubles`: those of its records, by their places among its own, that
    cannot be expressed to the vendor and do not leave; `places`: of those that do. `several`: it
    has records with outcomes of their own."""

    rider: Rider
    records: Sequence[Record]
    troubles: Mapping[int, Trouble] = field(default_factory=dict)
    places: Sequence[int] = (0,)
    several: bool = False

    @property
    def bytes(self) -> int:
        """Of its records, with a comma each."""
        return sum(len(record.body) + 1 for record in self.records)


Taken = tuple[Parcel, str | None]
"""What the vendor has taken, and its own id of it, where it tells."""


class Rides(Job[Asked]):
    """A kind whose jobs travel in loads."""

    status: ClassVar[str]
    """What a job has come to that the vendor has taken."""

    async def run(self, attempt: Attempt[Asked]) -> Done:
        raise AssertionError("a load carries it: it has no attempt of its own")

    @abstractmethod
    def parcel(self, vendor: Adapter, rider: Rider, args: Asked) -> Parcel:
        """The rider's records as the vendor takes them; asks nobody. Raises VendorError where there
        is none that can leave."""

    @abstractmethod
    def send(self, vendor: Adapter) -> Send:
        """How they leave."""

    async def free(
        self, connection: AsyncConnection, vendor: str, parcels: Sequence[Parcel]
    ) -> tuple[Sequence[Parcel], Sequence[Odd]]:
        """Those that may go now, and those that must wait for a while; all others stay as they
        are. In the transaction that takes them."""
        return parcels, ()

    async def reserve(
        self, connection: AsyncConnection, load: UUID, vendor: str, parcels: Sequence[Parcel]
    ) -> None:
        """These go. In the same transaction."""

    async def saved(self, connection: AsyncConnection, vendor: str, taken: Sequence[Taken]) -> None:
        """The vendor has taken these. In the transaction that writes down their outcomes."""

    def result(self, vendor: str, parcel: Parcel, reference: str | None) -> Row | None:
        """The result of a job that the vendor has taken. None: that of all others."""
        return None

    def resolved(self, id: UUID, vendor: str, args: Asked) -> Done:
        return Done({"id": str(id), "vendor": vendor, "status": self.status})
