"""What does a person do in SendGrid's web pages, and what may SendGrid tell? For tests."""

import time
from collections.abc import Callable
from typing import Any

from sandbox.sendgrid.account import Account
from sandbox.sendgrid.lists import SHOWN
from sandbox.sendgrid.outcomes import DETAILS, Message, event_id
from sandbox.sendgrid.post import VENDOR
from sandbox.vendor import UnknownAction

Event = dict[str, Any]
LISTED = {"spamreport": "spam_reports", "unsubscribe": "unsubscribes"}
BOUNCES = {"bounce": "bounces", "blocked": "blocks"}


def act(account: Account, action: str, arguments: dict[str, Any]) -> object:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"sendgrid has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](account, **arguments)
    except TypeError as error:
        raise UnknownAction(f"{action}: {error}") from None


def event(account: Account, **given: Any) -> Event:
    """Tells of one event, whatever it may be: the fields are sent as they are given, over those
    that it would have if it were about the last mail to this `email`."""
    (sent,) = events(account, events=[given])["events"]
    return dict(sent)


def events(account: Account, *, events: list[Event]) -> dict[str, list[Event]]:
    """The same for several, in one delivery."""
    whole = [_whole(account, one) for one in events]
    if not whole:
        raise UnknownAction("events: at least one is expected")
    for one in whole:
        _learn(account, one)
    account.post.send(whole)
    return {"events": whole}


def _whole(account: Account, given: Event) -> Event:
    if not isinstance(given, dict) or not isinstance(given.get("email"), str):
        raise UnknownAction("event: `event` and `email` are expected, and what else it says")
    what = "blocked" if given.get("type") == "blocked" else str(given.get("event"))
    found = account.effects.latest(VENDOR, given["email"]) or {}
    message = Message(found.get("reference", "none"), int(time.time()), found.get("categories", []))
    usual = message.event(
        what if what in DETAILS else "processed", 0, given["email"], found.get("custom_args", {})
    )
    return usual | {"sg_event_id": event_id(account.ids.new("event-", 16))} | given


def _learn(account: Account, one: Event) -> None:
    name = LISTED.get(one["event"])
    if one["event"] == "bounce":
        name = BOUNCES.get(str(one.get("type")), "bounces")
    if name is not None:
        account.learn(name, one["email"])


def suppress(
    account: Account, *, list: str, email: str, reason: str = "", status: str = ""
) -> dict[str, Any]:
    """Puts an address on a suppression list, of which no event tells."""
    if list not in SHOWN:
        raise UnknownAction(f"suppress: list is one of {', '.join(SHOWN)}")
    return account.lists.add(list, email, reason, status).shown()


ACTIONS: dict[str, Callable[..., object]] = {
    "event": event,
    "events": events,
    "suppress": suppress,
}
