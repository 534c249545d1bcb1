"""`track_event`: somebody did something, or several did."""

from __future__ import annotations

from typing import Any, cast

from adapters._analytics import Analytics, Happening
from adapters._base import Adapter, Call
from adapters._records import Outcome, Record, RefusedRecord, Trouble
from ferryman import requests
from ferryman.requests import TrackEvent as Asked
from models.loads import Rider
from tasks._people import moment, record_id
from tasks._riding import Parcel, Rides, Row, Send


class TrackEvent(Rides[requests.TrackEvent]):
    request = requests.TrackEvent
    status = "accepted"

    def parcel(self, vendor: Adapter, rider: Rider, args: Asked) -> Parcel:
        analytics = cast(Analytics, vendor)
        if args.events is not None:
            return _several(analytics, rider, args.events)
        happening = Happening(
            record_id(rider.id),
            args.user or "",
            args.event or "",
            moment(args.at, rider.created_at),
            args.properties or {},
        )
        return Parcel(rider, (analytics.event(happening),))

    def send(self, vendor: Adapter) -> Send:
        analytics = cast(Analytics, vendor)

        async def track(call: Call, records: Any, step: str) -> Outcome:
            return await analytics.track(call, records, step=step)

        return track

    def result(self, vendor: str, parcel: Parcel, reference: str | None) -> Row | None:
        if not parcel.several:
            return None
        shared = {"id": str(parcel.rider.id), "vendor": vendor, "status": self.status}
        return shared | {"events": len(parcel.records)}


def _several(vendor: Analytics, rider: Rider, events: list[requests.Event]) -> Parcel:
    """Those that the vendor does not take stay behind; the others go."""
    records: list[Record] = []
    places: list[int] = []
    troubles: dict[int, Trouble] = {}
    for place, one in enumerate(events):
        at = moment(one.at, rider.created_at)
        happening = Happening(
            record_id(rider.id, place), one.user, one.event, at, one.properties or {}
        )
        try:
            records.append(vendor.event(happening))
            places.append(place)
        except RefusedRecord as refused:
            troubles[place] = refused.trouble
    return Parcel(rider, records, troubles, places, several=True)
