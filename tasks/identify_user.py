"""`identify_user`: what is known of a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._analytics import Analytics, Person
from adapters._base import Adapter, Call
from adapters._records import Outcome
from ferryman import requests
from ferryman.requests import IdentifyUser as Asked
from models import people
from models.loads import Odd, Rider
from tasks._people import moment, record_id
from tasks._riding import Parcel, Rides, Send

IN_ORDER = {"message": "waits for what was told of the same user before"}


class IdentifyUser(Rides[requests.IdentifyUser]):
    request = requests.IdentifyUser
    status = "accepted"

    def parcel(self, vendor: Adapter, rider: Rider, args: Asked) -> Parcel:
        at = moment(args.at, rider.created_at)
        person = Person(record_id(rider.id), args.user, at, args.traits)
        return Parcel(rider, (cast(Analytics, vendor).person(person),))

    def send(self, vendor: Adapter) -> Send:
        analytics = cast(Analytics, vendor)

        async def identify(call: Call, records: Any, step: str) -> Outcome:
            return await analytics.identify(call, records, step=step)

        return identify

    async def free(
        self, connection: AsyncConnection, vendor: str, parcels: Sequence[Parcel]
    ) -> tuple[Sequence[Parcel], Sequence[Odd]]:
        """The later one is the last: one whose user has something that waits for its repeat goes
        behind that."""
        before = await people.before(connection, vendor, {_user(parcel) for parcel in parcels})
        free: list[Parcel] = []
        put_off: list[Odd] = []
        for parcel in sorted(parcels, key=_made):
            first = before.get(_user(parcel))
            if first is None or parcel.rider.created_at <= first.created_at:
                free.append(parcel)
            else:
                delay = first.seconds + (len(put_off) + 1) / 1000
                put_off.append(Odd(parcel.rider.id, "waiting", IN_ORDER, delay=delay))
        return free, put_off


def _user(parcel: Parcel) -> str:
    user: str = parcel.rider.args["user"]
    return user


def _made(parcel: Parcel) -> Any:
    return parcel.rider.created_at, parcel.rider.id
