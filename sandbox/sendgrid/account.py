"""What does one SendGrid account do with a mail that it has taken? Effects, events, lists."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.effects import Run
from sandbox.sendgrid.lists import Lists
from sandbox.sendgrid.outcomes import BLOCKED, BOUNCED, Message, Outcome, special
from sandbox.sendgrid.post import VENDOR, Dropped, Post
from sandbox.sendgrid.rules import addressed
from sandbox.vendor import World

Mail = dict[str, Any]
BYPASSES = {
    "bypass_list_management": ("bounces", "spam_reports", "unsubscribes", "invalid_emails"),
    "bypass_bounce_management": ("bounces",),
    "bypass_spam_management": ("spam_reports",),
    "bypass_unsubscribe_management": ("unsubscribes",),
}
OWN = ("custom_args", "headers", "subject")
REASONS = {"bounces": BOUNCED, "blocks": BLOCKED}


@dataclass(slots=True)
class Sorted:
    """The recipients of a request: those who get a mail, by their place, and the others."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    special: dict[int, Outcome] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)


class Account:
    """One account."""

    def __init__(self, world: World) -> None:
        self.ids = world.ids
        self.effects = world.effects
        self.lists = Lists(world.journal)
        self.post = Post(world.webhooks)

    def take(self, mail: Mail, message_id: str) -> None:
        """Sends a mail: an effect for each recipient, but for those on a suppression list."""
        people = self._sorted(mail)
        message = Message(message_id, int(time.time()), mail.get("categories", []))
        wanted = self.post.wanted
        if people.sent:
            run = self.effects.record_many(VENDOR, "mail", message_id, _shared(mail), people.sent)
            self._follow(people, run)
            if wanted:
                self.post.tell(message, run, people.special)
        if people.dropped and wanted:
            self.post.tell_dropped(message, people.dropped, len(people.sent))

    def _sorted(self, mail: Mail) -> Sorted:
        people = Sorted()
        back = self.lists.keeping_back(_bypassed(mail.get("mail_settings", {})))
        for one in mail["personalizations"]:
            own = _own(one)
            for way, address in addressed(one):
                if back and (reason := _kept_back(back, address)):
                    arguments = mail.get("custom_args", {}) | one.get("custom_args", {})
                    people.dropped.append(Dropped(address, arguments, reason))
                    continue
                if outcome := special(address):
                    people.special[len(people.sent)] = outcome
                people.sent.append(
                    {"to": address, **own} if way == "to" else {"to": address, "way": way, **own}
                )
        return people

    def _follow(self, people: Sorted, run: Run) -> None:
        """Puts those on the lists whose mail comes back, or is unwelcome."""
        for place, outcome in people.special.items():
            if outcome.list is not None:
                self.learn(outcome.list, people.sent[place]["to"])

    def learn(self, name: str, address: str) -> None:
        """Puts an address on a list, with the reason that SendGrid would give."""
        known = REASONS.get(name, {})
        self.lists.add(name, address, str(known.get("reason", "")), str(known.get("status", "")))


def _kept_back(lists: Sequence[tuple[str, Collection[str]]], address: str) -> str | None:
    """Why the address gets nothing: of the first list that it is on."""
    known = address.lower()
    return next((reason for reason, listed in lists if known in listed), None)


def _bypassed(settings: dict[str, Any]) -> Collection[str]:
    return {
        name
        for setting, names in BYPASSES.items()
        if settings.get(setting, {}).get("enable")
        for name in names
    }


def _own(one: Mail) -> dict[str, Any]:
    """What is different in the mails of a personalization."""
    own = {name: one[name] for name in OWN if name in one}
    if data := one.get("dynamic_template_data") or one.get("substitutions"):
        own["data"] = data
    if "from" in one:
        own["from"] = one["from"]["email"]
    return own


def _shared(mail: Mail) -> dict[str, Any]:
    """What the mails of a request have in common, as far as none has its own."""
    return {
        "to": None,
        "way": "to",
        "from": mail["from"]["email"],
        "subject": mail.get("subject"),
        "template_id": mail.get("template_id"),
        "custom_args": mail.get("custom_args", {}),
        "data": {},
        "headers": mail.get("headers", {}),
        "categories": mail.get("categories", []),
        "reply_to": mail.get("reply_to", {}).get("email"),
        "tracking_settings": mail.get("tracking_settings", {}),
    }
