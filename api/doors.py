"""The doors through which vendors tell things: which are open, how what comes in is verified, and
that it is stored before it is answered."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import psycopg
from uuid_utils.compat import uuid7

from adapters._base import Adapter, Delivery, Event, Forged, NoEvent, VendorError, adapter
from api.ledger import NO_SCHEMA, down
from api.problems import Problem
from ferryman.policies import policies
from models import events
from models.events import Packed, Received, Unfit
from models.group import GroupCommit, LedgerDown, Line

PATIENCE_SECONDS = 5.0
# A vendor sends the next one when it has its answer: those that wait together would do so in step,
# and the process idle meanwhile.
LINGER_SECONDS = 0.0005
OUTCOMES = (
    *("accepted", "duplicate", "forged", "no_event"),
    *("closed", "unverifiable", "ledger_down"),
)
# Data that PostgreSQL cannot keep, whenever it is sent.
UNFIT_CLASSES = ("22", "54")

_log = logging.getLogger("ferryman.api")


class Doors:
    """Those of one API process. They have a connection to the ledger of their own: nothing that
    the rest of the API waits for holds them up. `counts`: deliveries by vendor and outcome."""

    def __init__(self, database_url: str, public_url: str | None) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.patience_seconds = PATIENCE_SECONDS
        self._public_url = (public_url or "").rstrip("/")
        self._line = Line(database_url)
        self._store = GroupCommit(
            self._line,
            events.receive,
            size=events.size_of,
            patience_seconds=PATIENCE_SECONDS,
            linger_seconds=LINGER_SECONDS,
        )
        self._away = self._trying = False
        self._open: dict[str, Adapter] = {}

    async def close(self) -> None:
        await self._line.close()

    def open(self, vendor: str) -> Adapter:
        """Who verifies what comes from that vendor. Raises Problem (404)."""
        if vendor in self._open:
            return self._open[vendor]
        found = adapter(vendor) if vendor in policies() else None
        if found is not None and found.takes_webhooks():
            # The environment of a process does not change.
            self._open[vendor] = found
            return found
        if found is not None and found.webhook_secrets:
            self.counts[vendor, "closed"] += 1
        raise Problem("not-found", "No webhooks are taken here; /readyz names closed doors.")

    async def take(
        self, found: Adapter, headers: Mapping[str, str], body: bytes, path: str
    ) -> dict[str, int]:
        """Verify and store what was sent; how many events it holds, and how many are new. `path`:
        what was called, with its query. Raises Problem (400, 503)."""
        vendor = found.vendor
        # Never by the name that arrived here: whoever sends may choose it.
        url = self._public_url + path if self._public_url else None
        packed, unfit = _packed(vendor, await self._verified(found, Delivery(headers, body, url)))
        new = await self._stored(vendor, packed) if packed else 0
        if unfit is not None:
            # The others are stored: when all are sent again, they are not new.
            raise self._counted(vendor, "no_event", Problem("no-event", str(unfit)))
        self.counts[vendor, "accepted" if new else "duplicate"] += 1
        return {"events": len(packed), "new": new}

    async def _verified(self, found: Adapter, delivery: Delivery) -> Sequence[Event]:
        """At least one event. Raises Problem."""
        try:
            if told := await found.receive(delivery):
                return told
            problem, outcome = Problem("no-event", "There is none in it."), "no_event"
        except Forged as error:
            problem, outcome = Problem("forged", str(error)), "forged"
        except NoEvent as error:
            problem, outcome = Problem("no-event", str(error)), "no_event"
        except VendorError as error:
            _log.warning("a webhook of %s cannot be verified now: %s", found.vendor, error)
            problem, outcome = _unverifiable(error), "unverifiable"
        raise self._counted(found.vendor, outcome, problem)

    async def _stored(self, vendor: str, packed: Sequence[Packed]) -> int:
        """How many are new, once all are committed. Where the ledger was away, one delivery at a
        time finds out whether it is back, and no other waits for that. Raises Problem."""
        if self._away and self._trying:
            raise self._counted(vendor, "ledger_down", down("It did not answer the last one."))
        trying = self._trying = self._away
        try:
            async with asyncio.timeout(self.patience_seconds):
                # Given up, it may be stored all the same: sent again, it is a duplicate.
                new = await self._store(packed)
        except (TimeoutError, LedgerDown, psycopg.Error) as error:
            outcome, problem = _refusal(error)
            self._note(error, away=outcome == "ledger_down")
            raise self._counted(vendor, outcome, problem) from None
        finally:
            if trying:
                self._trying = False
        self._away = False
        return new

    def _note(self, error: Exception, *, away: bool) -> None:
        if away and not self._away:
            # Its text may quote what was to be stored.
            state = getattr(error, "sqlstate", None)
            _log.error("webhooks cannot be stored: %s %s", type(error).__name__, state or "")
        self._away = away

    def _counted(self, vendor: str, outcome: str, problem: Problem) -> Problem:
        self.counts[vendor, outcome] += 1
        return problem


def closed() -> dict[str, tuple[str, ...]]:
    """The vendors whose door is closed in this environment, and the variables to look at."""
    found = {vendor: adapter(vendor) for vendor in policies()}
    return {
        vendor: one.webhooks_lack() or one.webhook_secrets
        for vendor, one in found.items()
        if one.webhook_secrets and not one.takes_webhooks()
    }


def _packed(vendor: str, told: Sequence[Event]) -> tuple[list[Packed], Unfit | None]:
    """The events that the ledger can keep, and why another one is none of these."""
    packed: list[Packed] = []
    unfit = None
    for event in told:
        row = Received(uuid7(), vendor, event.id, event.type, event.at, event.payload)
        try:
            packed.append(events.pack(row))
        except Unfit as error:
            unfit = error
    return packed, unfit


def _unverifiable(error: VendorError) -> Problem:
    seconds = getattr(error, "retry_after", None) or 1
    again = {"Retry-After": str(math.ceil(seconds))}
    return Problem("unverifiable", error.message, headers=again)


def _refusal(error: Exception) -> tuple[str, Problem]:
    """What it means to the vendor that the ledger has not stored its events."""
    state = str(getattr(error, "sqlstate", None) or "")
    if state.startswith(UNFIT_CLASSES):
        return "no_event", Problem("no-event", "The ledger cannot keep it.")
    if state in NO_SCHEMA:
        return "ledger_down", down("Its schema is not this version's: run `ferryman migrate`.")
    return "ledger_down", down("It cannot be reached, or did not answer in time.")
