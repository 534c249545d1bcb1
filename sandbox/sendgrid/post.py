"""How do events leave? In lists of some hundred, each made when it is sent, not before: a million
mails bring two million events, which would not all find room while they wait for their turn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from sandbox.effects import Run
from sandbox.sendgrid.outcomes import NAMES, SENT, Message, Outcome
from sandbox.webhooks import Webhooks

VENDOR = "sendgrid"
MOST_EVENTS = 250
Event = dict[str, Any]


@dataclass(frozen=True)
class Dropped:
    """A recipient who is on a suppression list: nothing was sent."""

    to: str
    custom_args: Mapping[str, str]
    reason: str


class Post:
    """The way out for events."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return self._webhooks.target(VENDOR) is not None

    def send(self, events: Sequence[Event]) -> None:
        """One delivery. It has the id of its first event."""
        self._webhooks.send(VENDOR, events[0]["sg_event_id"], body(events))

    def tell(self, message: Message, run: Run, special: Mapping[int, Outcome]) -> None:
        """Everything that becomes of the mails of a run. `special`: by their places, those that are
        not simply delivered. A delivery has events of one kind of moment: what was processed
        comes apart from what was delivered, and may be overtaken."""
        for step in range(max((len(one.events) for one in special.values()), default=2)):
            places = _places(run, special, step)
            for begin in range(0, len(places), MOST_EVENTS):
                part = places[begin : begin + MOST_EVENTS]
                make = _maker(message, run, special, step, part)
                what = special.get(part[0], SENT).events[step]
                self._webhooks.send(
                    VENDOR, message.event_id(what, part[0]), make, NAMES.get(what, what)
                )

    def tell_dropped(self, message: Message, dropped: Sequence[Dropped], first: int) -> None:
        """`first`: the place from which on they are numbered."""
        events = [
            message.event(
                "dropped", place, one.to, one.custom_args, reason=one.reason, status="5.0.0"
            )
            for place, one in enumerate(dropped, first)
        ]
        for begin in range(0, len(events), MOST_EVENTS):
            self.send(events[begin : begin + MOST_EVENTS])


def _places(run: Run, special: Mapping[int, Outcome], step: int) -> Sequence[int]:
    """The mails to which something happens in this step."""
    if step < len(SENT.events):
        return range(run.count)
    return [place for place, one in special.items() if len(one.events) > step]


def _maker(
    message: Message,
    run: Run,
    special: Mapping[int, Outcome],
    step: int,
    places: Sequence[int],
) -> Callable[[], bytes]:
    def make() -> bytes:
        return body(list(_events(message, run, special, step, places)))

    return make


def _events(
    message: Message,
    run: Run,
    special: Mapping[int, Outcome],
    step: int,
    places: Sequence[int],
) -> Iterator[Event]:
    entries = _unpacked(run)
    for place in places:
        entry = entries[place]
        what = special.get(place, SENT).events[step]
        yield message.event(what, place, entry["to"], entry["custom_args"])


# The deliveries of a run leave one after another.
@lru_cache(maxsize=4)
def _unpacked(run: Run) -> list[dict[str, Any]]:
    return run.entries()


def body(events: Sequence[Event]) -> bytes:
    """As SendGrid writes it, with the line's end that its signature covers."""
    return b"[%b]\r\n" % b",\r\n".join(map(orjson.dumps, events))
