"""To whom does SendGrid send nothing more? Its suppression lists, and how they are read.

Facts: https://www.twilio.com/docs/sendgrid/api-reference/bounces-api and its neighbours.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sandbox.sendgrid.problems import Problem, refused
from sandbox.store import Journal, Table
from sandbox.vendor import Answer, json_answer

DROPS: Mapping[str, str] = {
    "bounces": "Bounced Address",
    "spam_reports": "Spam Reporting Address",
    "unsubscribes": "Unsubscribed Address",
    "invalid_emails": "Invalid",
}
"""The lists that keep mail back, with the reason in the `dropped` event. An address that is
blocked is tried again, so `blocks` is none of them."""
SHOWN: Mapping[str, tuple[str, ...]] = {
    "bounces": ("created", "email", "reason", "status"),
    "blocks": ("created", "email", "reason", "status"),
    "invalid_emails": ("created", "email", "reason"),
    "spam_reports": ("created", "email", "ip"),
    "unsubscribes": ("created", "email"),
}
LARGEST_PAGE = 500


@dataclass(slots=True)
class Entry:
    """An address on a list since `created`, in epoch seconds. `gone`: it was taken off again."""

    id: str
    list: str
    email: str
    created: int
    reason: str = ""
    status: str = ""
    ip: str = "127.0.0.1"
    gone: bool = False

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SHOWN[self.list]}


class Lists:
    """The lists of one account. Addresses are the same in whatever case they are written."""

    def __init__(self, journal: Journal) -> None:
        self._table = Table(journal, "sendgrid.suppressions", Entry)
        self._of: dict[str, dict[str, Entry]] = {name: {} for name in SHOWN}
        for entry in self._table.rows.values():
            if not entry.gone:
                self._of[entry.list][entry.email.lower()] = entry

    def add(self, name: str, email: str, reason: str = "", status: str = "") -> Entry:
        """Puts an address on a list, on top even if it was there before."""
        key = email.lower()
        entry = Entry(f"{name}:{key}", name, email, int(time.time()), reason, status)
        self._of[name].pop(key, None)
        self._of[name][key] = self._table.put(entry)
        return entry

    def remove(self, name: str, emails: Iterable[str]) -> int:
        """Takes addresses off; how many were there."""
        found = [self._of[name].pop(email.lower(), None) for email in emails]
        for entry in filter(None, found):
            entry.gone = True
            self._table.put(entry)
        return len(found) - found.count(None)

    def keeping_back(self, bypassed: Collection[str]) -> list[tuple[str, dict[str, Entry]]]:
        """The lists with somebody on them who gets no mail, with the reason."""
        return [
            (reason, self._of[name])
            for name, reason in DROPS.items()
            if self._of[name] and name not in bypassed
        ]

    def has(self, name: str, email: str) -> bool:
        return email.lower() in self._of[name]

    def everybody(self, name: str) -> list[str]:
        return list(self._of[name])

    def page(self, name: str, query: str) -> Answer:
        """Part of a list, newest first."""
        given = dict(parse_qsl(query))
        try:
            limit = _number(given, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
            offset = _number(given, "offset", 0)
            start, end = _number(given, "start_time", 0), _number(given, "end_time", 1 << 40)
        except _Wrong as wrong:
            return refused(400, [Problem(wrong.args[0], "invalid parameter")])
        found = [
            entry.shown()
            for entry in reversed(self._of[name].values())
            if start <= entry.created <= end and _begins(entry.email, given.get("email"))
        ]
        return json_answer(200, found[offset : offset + limit])

    def one(self, name: str, email: str) -> Answer:
        entry = self._of[name].get(email.lower())
        return json_answer(200, [entry.shown()] if entry else [])


class _Wrong(ValueError):
    """A parameter that cannot be understood; its name."""


def _number(
    given: Mapping[str, str], name: str, usual: int, least: int = 0, most: int = 1 << 40
) -> int:
    text = given.get(name, str(usual))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise _Wrong(name)
    return int(text)


def _begins(email: str, wanted: str | None) -> bool:
    return wanted is None or email.lower().startswith(wanted.lower())
