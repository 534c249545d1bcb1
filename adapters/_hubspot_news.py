"""What HubSpot's events say of contacts, in our words. Facts:
https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide"""

from __future__ import annotations

from collections.abc import Sequence

from adapters._base import Event
from adapters._crm import EMAIL
from adapters._news import ContactNews
from ferryman.policies import policy

# By the event's name after its object's.
WHAT = {
    "creation": "made",
    "propertyChange": "changed",
    "deletion": "deleted",
    "privacyDeletion": "erased",
    "restore": "restored",
    "merge": "merged",
}
CONTACT = ("contact", "0-1")


def news(event: Event) -> Sequence[ContactNews]:
    """Nothing for events of companies, deals and tickets, and for words that are not known."""
    told = event.payload
    thing, _, happened = event.type.partition(".")
    if thing == "object":
        thing = str(told.get("objectTypeId"))
    what = WHAT.get(happened)
    reference = told.get("objectId", told.get("primaryObjectId"))
    if thing not in CONTACT or what is None or not _is_id(reference):
        return ()
    field = value = None
    if what == "changed":
        if not isinstance(name := told.get("propertyName"), str):
            return ()
        field, value = _ours(name), _text(told.get("propertyValue"))
    merged = told.get("mergedObjectIds")
    others = [str(one) for one in merged if _is_id(one)] if isinstance(merged, list) else []
    return (ContactNews(event.at, what, str(reference), field, value, tuple(others)),)


def _ours(name: str) -> str:
    if name == EMAIL:
        return EMAIL
    mapping = policy("hubspot").fields.items()
    return next((here for here, there in mapping if there == name), name)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_id(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)
