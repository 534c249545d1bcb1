"""What do people do in Salesforce's web pages, and other programs beside us? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.salesforce.org import Org
from sandbox.vendor import UnknownAction

Shape = dict[str, Any]


def act(org: Org, action: str, arguments: dict[str, Any]) -> Shape:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"salesforce has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](org, **arguments)
    except (TypeError, ValueError) as error:
        raise UnknownAction(f"{action}: {error}") from None


def contact(org: Org, *, external_id: str) -> Shape:
    """Shows what is known of somebody."""
    if (found := org.contacts.get(external_id.lower())) is None:
        raise ValueError("there is no such contact")
    return {"id": found.reference, "fields": found.fields}


def count(org: Org) -> Shape:
    """How many contacts there are, and how many tokens were given out."""
    return {"contacts": len(org.contacts.rows), "tokens": org.issued}


def expire_tokens(org: Org) -> Shape:
    """All sessions end."""
    ended = len(org.tokens)
    org.tokens.clear()
    return {"ended": ended}


def lock(org: Org, *, external_id: str, times: int = 1) -> Shape:
    """Another program writes that contact, so that the next tries find it locked."""
    org.settings.locked[external_id.lower()] = times
    return {"locked": times}


def duplicate(org: Org, *, external_id: str) -> Shape:
    """A rule of the company's takes that contact for one that is there already."""
    org.settings.duplicates.add(external_id.lower())
    return {"duplicates": sorted(org.settings.duplicates)}


def settings(org: Org, *, daily: int) -> Shape:
    """So many requests from now on, until it is set anew."""
    org.settings.daily, org.settings.used = daily, 0
    return {"daily": daily}


ACTIONS: dict[str, Callable[..., Shape]] = {
    "contact": contact,
    "count": count,
    "duplicate": duplicate,
    "expire_tokens": expire_tokens,
    "lock": lock,
    "settings": settings,
}
