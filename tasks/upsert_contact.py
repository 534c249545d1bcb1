"""`upsert_contact`: make a contact in the CRM, or change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import Adapter, Call
from adapters._crm import Contact, Crm
from adapters._records import Outcome
from ferryman import requests
from ferryman.requests import UpsertContact as Asked
from models import contacts as ledger
from models.contacts import Holder
from models.loads import Odd, Rider
from tasks import _hear_contact
from tasks._base import Done, Heard, NotNow
from tasks._people import record_id
from tasks._riding import Parcel, Rides, Row, Send, Taken

# Behind one that is due now, but stands further back in the queue.
AWHILE_SECONDS = 1.0
IN_ORDER = {"message": "waits for an earlier change of the same contact"}


class UpsertContact(Rides[requests.UpsertContact]):
    request = requests.UpsertContact
    status = "saved"
    hears_many = True

    def parcel(self, vendor: Adapter, rider: Rider, args: Asked) -> Parcel:
        contact = Contact(record_id(rider.id), args.email, args.fields or {}, args.external_id)
        return Parcel(rider, (cast(Crm, vendor).contact(contact),))

    def send(self, vendor: Adapter) -> Send:
        crm = cast(Crm, vendor)

        async def upsert(call: Call, records: Any, step: str) -> Outcome:
            return await crm.upsert(call, records, step=step)

        return upsert

    async def free(
        self, connection: AsyncConnection, vendor: str, parcels: Sequence[Parcel]
    ) -> tuple[Sequence[Parcel], Sequence[Odd]]:
        """One job a contact, the oldest. Another stays where it is, or goes behind the one that it
        waits for: else a hundred of them would keep the others from being looked at."""
        lines: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            lines.setdefault(_identity(parcel), []).append(parcel)
        holders = await ledger.holders(connection, vendor, lines)
        first: set[UUID] = set()
        put_off: list[Odd] = []
        for identity, line in lines.items():
            line.sort(key=lambda parcel: (parcel.rider.created_at, parcel.rider.id))
            holder = holders.get(identity)
            if holder is None or any(parcel.rider.id == holder.id for parcel in line):
                first.add(holder.id if holder else line[0].rider.id)
            elif holder.waits:
                put_off += _behind(holder, line)
        return [parcel for parcel in parcels if parcel.rider.id in first], put_off

    async def reserve(
        self, connection: AsyncConnection, load: UUID, vendor: str, parcels: Sequence[Parcel]
    ) -> None:
        if parcels:
            rows = [_row(parcel) | {"job_id": parcel.rider.id} for parcel in parcels]
            await ledger.reserve(connection, vendor, rows)

    async def saved(self, connection: AsyncConnection, vendor: str, taken: Sequence[Taken]) -> None:
        if taken:
            rows = [
                _row(parcel)
                | {"reference": reference, "fields": parcel.rider.args.get("fields") or {}}
                for parcel, reference in taken
            ]
            await ledger.save(connection, vendor, rows)

    def result(self, vendor: str, parcel: Parcel, reference: str | None) -> Row | None:
        shared = {"id": str(parcel.rider.id), "vendor": vendor, "status": self.status}
        return shared | {"vendor_reference": reference}

    async def hear_all(
        self, connection: AsyncConnection, told: Sequence[Heard]
    ) -> list[str | NotNow]:
        return await _hear_contact.hear_all(connection, told)

    def resolved(self, id: UUID, vendor: str, args: Asked) -> Done:
        done = super().resolved(id, vendor, args)
        return Done(done.result | {"vendor_reference": None})


def _identity(parcel: Parcel) -> str:
    return parcel.records[0].name


def _row(parcel: Parcel) -> Row:
    args = parcel.rider.args
    named = {"email": args["email"], "external_id": args.get("external_id")}
    return {"identity": _identity(parcel), **named}


def _behind(holder: Holder, line: Sequence[Parcel]) -> list[Odd]:
    """In their order, right after it."""
    delay = holder.seconds or AWHILE_SECONDS
    return [
        Odd(parcel.rider.id, "waiting", IN_ORDER, delay=delay + place / 1000)
        for place, parcel in enumerate(line, 1)
    ]
