"""`poll_events`: ask a vendor for its events, for those that no webhook brought."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from uuid_utils.compat import uuid7

from adapters._base import Event
from ferryman import requests
from models import events, inbox
from models.events import Received
from tasks._base import Attempt, Done, Job, timestamp

# An event may be listed later than it happened, and another host's clock differs.
OVERLAP = timedelta(minutes=10)
FIRST_LOOK = timedelta(days=1)
MOST_ROWS = 200


class PollEvents(Job[requests.PollEvents]):
    request = requests.PollEvents
    deadline_seconds = 600.0

    async def run(self, attempt: Attempt[requests.PollEvents]) -> Done:
        until = datetime.now(UTC)
        since = await _since(attempt, until)
        seen = new = 0
        async for page in _pages(attempt.adapter.events(attempt.call, since, until)):
            seen += len(page)
            rows = [_received(attempt.vendor, event) for event in page]
            async with attempt.ledger.transaction() as connection:
                new += await events.store(connection, rows)
        async with attempt.held() as connection:
            first = until - FIRST_LOOK
            await inbox.polled(connection, attempt.vendor, first=first, since=since, until=until)
        span = {"since": timestamp(since), "until": timestamp(until)}
        counts = {"seen": seen, "new": new}
        return Done({"id": str(attempt.id), "vendor": attempt.vendor, **span, **counts})


async def _since(attempt: Attempt[requests.PollEvents], until: datetime) -> datetime:
    if attempt.args.since_seconds is not None:
        return until - timedelta(seconds=attempt.args.since_seconds)
    async with attempt.ledger.transaction() as connection:
        polled = await inbox.polled_until(connection, attempt.vendor)
    return polled - OVERLAP if polled else until - FIRST_LOOK


async def _pages(told: AsyncIterator[Event]) -> AsyncIterator[list[Event]]:
    page: list[Event] = []
    async for event in told:
        page.append(event)
        if len(page) == MOST_ROWS:
            yield page
            page = []
    if page:
        yield page


def _received(vendor: str, event: Event) -> Received:
    return Received(uuid7(), vendor, event.id, event.type, event.at, event.payload, "poll")
