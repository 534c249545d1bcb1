"""`track_event_load`: one request's worth of events. Ferryman makes these by itself."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request


class TrackEventLoad(Request):
    """Send the events that wait for their vendor. They stand in the ledger, not in here."""

    kind: ClassVar[str] = "track_event_load"
    internal: ClassVar[bool] = True
