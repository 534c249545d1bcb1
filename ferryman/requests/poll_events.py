"""`poll_events`: ask a vendor for the events that did not arrive."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.requests._base import Request


class PollEvents(Request):
    """Read the vendor's list of events, from some time before the last such look until now.

    `since_seconds`: from so long ago. Made by ferryman itself: on a schedule, or when
    `ferryman poll-events` asks.
    """

    kind: ClassVar[str] = "poll_events"
    internal: ClassVar[bool] = True

    since_seconds: Annotated[int, Field(gt=0, le=2_592_000)] | None = None
