"""What requests of events, people and contacts have in common: who, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ferryman import _times
from ferryman.errors import InvalidArguments
from ferryman.requests._fields import Label


def _moment(given: str) -> str:
    try:
        _times.moment("at", given)
    except InvalidArguments as error:
        raise ValueError(error.message) from None
    return given


User = Label
"""Who it is about, as the application knows him."""
EventName = Annotated[str, Field(min_length=1, max_length=255)]
Moment = Annotated[str, AfterValidator(_moment)]
"""A time with its zone. What has none happened when its job was made."""


def at_as_text(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with a `datetime` as it stands in JSON."""
    at = given.get("at")
    if isinstance(at, datetime) and at.tzinfo is not None:
        return {**given, "at": _times.rfc3339(at)}
    return dict(given)
