"""What do people do in HubSpot's web pages? For tests."""

from collections.abc import Callable
from typing import Any

from sandbox.hubspot.portal import Contact, Portal
from sandbox.vendor import UnknownAction

Shape = dict[str, Any]


def act(portal: Portal, action: str, arguments: dict[str, Any]) -> Shape:
    """Raises UnknownAction, also for arguments that are not the action's."""
    if action not in ACTIONS:
        raise UnknownAction(f"hubspot has no action {action!r}; there are {', '.join(ACTIONS)}")
    try:
        return ACTIONS[action](portal, **arguments)
    except (TypeError, ValueError) as error:
        raise UnknownAction(f"{action}: {error}") from None


def contact(portal: Portal, *, email: str) -> Shape:
    """Shows what is known of somebody."""
    found = _found(portal, email)
    return {"id": found.id, "properties": found.properties, "archived": found.archived}


def change(portal: Portal, *, email: str, properties: dict[str, str]) -> Shape:
    """Somebody changes a contact, or makes one."""
    known = portal.find("email", email)
    saved = portal.save(known, {"email": email, **properties}, "CRM_UI")
    return {"id": saved.id}


def delete(portal: Portal, *, email: str, for_good: bool = False) -> Shape:
    """Somebody deletes a contact; for good, as the law may ask."""
    found = _found(portal, email)
    portal.remove(found, for_good=for_good)
    return {"id": found.id}


def count(portal: Portal) -> Shape:
    """How many contacts there are."""
    return {"contacts": sum(not one.archived for one in portal.contacts.rows.values())}


def settings(
    portal: Portal,
    *,
    daily: int | None = None,
    unique: list[str] | None = None,
    properties: list[str] | None = None,
) -> Shape:
    """`daily`: so many requests from now on, until it is set anew (null: no limit). `unique`,
    `properties`: the account has these of its own, the first of which name one contact each."""
    portal.settings.daily, portal.settings.used = daily, 0
    portal.settings.unique |= set(unique or ())
    portal.settings.own |= set(properties or ())
    return {"daily": daily, "unique": sorted(portal.settings.unique)}


def _found(portal: Portal, email: str) -> Contact:
    if (found := portal.find("email", email)) is None:
        raise ValueError("there is no such contact")
    return found


ACTIONS: dict[str, Callable[..., Shape]] = {
    "change": change,
    "contact": contact,
    "count": count,
    "delete": delete,
    "settings": settings,
}
