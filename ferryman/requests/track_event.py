"""`track_event`: somebody did something."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Part, Request
from ferryman.requests._fields import JsonObject
from ferryman.requests._records import EventName, Moment, User, at_as_text

# As many as a vendor takes in one request.
MOST = 2000


class Event(Part):
    """One of several events."""

    user: User
    event: EventName
    properties: JsonObject | None = None
    at: Moment | None = None


class TrackEvent(Request):
    """Tell that a user did something, or several such (`events`). `at` is when; without it, when
    the job was made. Repeated by ferryman, it is the same event to the vendor."""

    kind: ClassVar[str] = "track_event"

    user: User | None = None
    event: EventName | None = None
    properties: JsonObject | None = None
    at: Moment | None = None
    events: Annotated[list[Event], Field(min_length=1, max_length=MOST)] | None = None

    def __init__(self, /, **given: Any) -> None:
        events = given.get("events")
        if isinstance(events, list):
            events = [at_as_text(one) if isinstance(one, dict) else one for one in events]
            given["events"] = events
        super().__init__(**at_as_text(given))

    def _agree(self) -> None:
        alone = ("user", "event", "properties", "at")
        if self.events is not None:
            for name in alone:
                if getattr(self, name) is not None:
                    raise InvalidArguments(name, "belongs into each of the events")
            return
        for name in ("user", "event"):
            if getattr(self, name) is None:
                raise InvalidArguments(name, "is required")
