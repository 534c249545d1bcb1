"""What the jobs of events and people ask of a vendor of analytics, in our words.

Each record carries an id, a time and a user that never change: so it may be sent again, alone or in
any company, and is the same record there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from adapters._base import Call
from adapters._records import STEP, Outcome, Record


@dataclass(frozen=True)
class Happening:
    """Somebody did something. `id`: at most 36 letters, digits and dashes."""

    id: str
    user: str
    event: str
    at: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    """What is known of a user now; it replaces what was known under the same names."""

    id: str
    user: str
    at: datetime
    traits: Mapping[str, Any]


class Analytics(Protocol):
    """A vendor that takes events and people."""

    def event(self, one: Happening) -> Record:
        """The event as the vendor takes it; asks nobody. Raises RefusedRecord, naming the argument
        that it would refuse, or drop without a word."""
        ...

    def person(self, one: Person) -> Record:
        """The same for a person."""
        ...

    async def track(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """Send events in one request. Raises Whole where the vendor refuses it as a whole."""
        ...

    async def identify(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """The same for people."""
        ...
