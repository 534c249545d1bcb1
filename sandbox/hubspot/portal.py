"""What does one HubSpot account hold? Contacts, the properties that they may have, and its day."""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from sandbox.store import Table
from sandbox.vendor import World

VENDOR = "hubspot"
PORTAL, APP, SUBSCRIPTION = 4_711_000, 98_765, 1_234
# Those that each account has, of the many; all are texts.
PROPERTIES = frozenset(
    {
        *("email", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle"),
        *("website", "address", "city", "state", "zip", "country", "salutation"),
        *("lifecyclestage", "hs_lead_status"),
    }
)
CHOICES = {
    "lifecyclestage": frozenset(
        {
            *("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead"),
            *("opportunity", "customer", "evangelist", "other", ""),
        }
    )
}


@dataclass(slots=True)
class Contact:
    """One contact. `id`: HubSpot's own, as a text."""

    id: str
    created: float
    properties: dict[str, str] = field(default_factory=dict)
    updated: float = 0.0
    archived: bool = False


@dataclass(slots=True)
class Settings:
    """`unique`: properties that name one contact each; `daily`: so many requests a day."""

    unique: set[str] = field(default_factory=lambda: {"email"})
    own: set[str] = field(default_factory=set)
    daily: int | None = None
    used: int = 0


class Portal:
    """One account."""

    def __init__(self, world: World) -> None:
        self.settings = Settings()
        self.contacts = Table(world.journal, "hubspot.contacts", Contact)
        self._world = world
        self._events = 0
        self._ids = 100 + len(self.contacts.rows)
        self._by: dict[tuple[str, str], str] = {}
        for contact in self.contacts.rows.values():
            self._index(contact)

    def known(self, name: str) -> bool:
        settings = self.settings
        return name in PROPERTIES or name in settings.unique or name in settings.own

    def find(self, known_by: str, value: str) -> Contact | None:
        """The contact that a unique property names, or its own id."""
        named = value if known_by == "id" else self._by.get((known_by, value.lower()))
        found = self.contacts.get(named) if named is not None else None
        return None if found is None or found.archived else found

    def save(
        self,
        contact: Contact | None,
        properties: dict[str, str],
        source: str,
        job: str | None = None,
    ) -> Contact:
        """Makes a contact, or changes one; who has subscribed to it is told."""
        new = contact is None
        if contact is None:
            self._ids += 1
            contact = Contact(str(self._ids), time.time())
        changed = {k: v for k, v in properties.items() if contact.properties.get(k, "") != v}
        contact.properties |= properties
        contact.updated = time.time()
        self.contacts.put(contact)
        self._index(contact)
        effect = {"to": contact.properties.get("email"), "created": new, "job": job}
        self._world.effects.record(VENDOR, "contact", contact.id, **effect)
        self.tell(
            *([{"subscriptionType": "contact.creation", "objectId": int(contact.id)}] * new),
            *(
                {
                    "subscriptionType": "contact.propertyChange",
                    "objectId": int(contact.id),
                    "propertyName": name,
                    "propertyValue": value,
                }
                for name, value in changed.items()
            ),
            source=source,
        )
        return contact

    def remove(self, contact: Contact, *, for_good: bool) -> None:
        contact.archived = True
        if for_good:
            contact.properties.clear()
        self.contacts.put(contact)
        what = "contact.privacyDeletion" if for_good else "contact.deletion"
        self.tell({"subscriptionType": what, "objectId": int(contact.id)}, source="CRM_UI")

    def tell(self, *events: dict[str, Any], source: str) -> None:
        """One delivery, of a hundred events at the most."""
        for begin in range(0, len(events), 100):
            body = [self._event(one, source) for one in events[begin : begin + 100]]
            first = body[0]
            self._world.webhooks.send(
                VENDOR, str(first["eventId"]), orjson.dumps(body), type=first["subscriptionType"]
            )

    def _event(self, given: dict[str, Any], source: str) -> dict[str, Any]:
        self._events += 1
        return {
            "eventId": self._events,
            "subscriptionId": SUBSCRIPTION,
            "portalId": PORTAL,
            "appId": APP,
            "occurredAt": int(time.time() * 1000),
            "attemptNumber": 0,
            "changeSource": source,
            **given,
        }

    def _index(self, contact: Contact) -> None:
        for name in self.settings.unique:
            if value := contact.properties.get(name):
                self._by[name, value.lower()] = contact.id
