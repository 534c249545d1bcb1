"""`sync_suppressions`: take over whom a mail vendor itself sends nothing to."""

from __future__ import annotations

from typing import Any, cast

from adapters._mail import Mailer, Suppressed
from ferryman import requests
from models import suppressions
from tasks._base import Attempt, Done, Job

AT_ONCE = 2000


class SyncSuppressions(Job[requests.SyncSuppressions]):
    request = requests.SyncSuppressions
    deadline_seconds = 600.0

    async def run(self, attempt: Attempt[requests.SyncSuppressions]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        seen = new = 0
        found: list[Suppressed] = []
        async for one in vendor.suppressions(attempt.call):
            found.append(one)
            seen += 1
            if len(found) == AT_ONCE:
                new += await _add(attempt, found)
                found = []
        new += await _add(attempt, found)
        return Done({"vendor": attempt.vendor, "seen": seen, "new": new})


async def _add(attempt: Attempt[Any], found: list[Suppressed]) -> int:
    """What was taken from our list by a person comes back, as long as it stands on the vendor's."""
    if not found:
        return 0
    rows = [
        {
            "channel": "email",
            "address": one.address.lower(),
            "reason": one.reason,
            "source": f"{attempt.vendor}'s list",
            "at": one.at,
        }
        for one in found
    ]
    async with attempt.ledger.transaction() as connection:
        return await suppressions.add(connection, rows)
