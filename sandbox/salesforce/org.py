"""What does one company's Salesforce hold? Contacts by external id, tokens, and its day."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sandbox.store import Table
from sandbox.vendor import World

VENDOR = "salesforce"
EXTERNAL_ID = "Ferryman_Id__c"
# Of Contact; the longest text of each.
FIELDS = {
    **dict.fromkeys(("FirstName", "MailingCity", "MailingCountry", "Phone", "MobilePhone"), 40),
    **dict.fromkeys(("LastName", "Email", "Department"), 80),
    **dict.fromkeys(("Title",), 128),
    **dict.fromkeys(("MailingPostalCode", "Salutation"), 20),
    **dict.fromkeys(("MailingStreet", EXTERNAL_ID), 255),
    **dict.fromkeys(("Description",), 32_000),
    **dict.fromkeys(("LeadSource",), 40),
}


@dataclass(slots=True)
class Contact:
    """One contact. `id`: what names it, in lower case; `reference`: Salesforce's own id."""

    id: str
    reference: str
    fields: dict[str, Any] = field(default_factory=dict)
    updated: float = 0.0


@dataclass(slots=True)
class Settings:
    """`locked`: external ids whose row somebody else writes, and for how many tries more; `daily`:
    so many requests a day."""

    locked: Counter[str] = field(default_factory=Counter)
    duplicates: set[str] = field(default_factory=set)
    daily: int = 15_000
    used: int = 0


class Org:
    """One company."""

    def __init__(self, world: World) -> None:
        self.settings = Settings()
        self.contacts = Table(world.journal, "salesforce.contacts", Contact)
        self.tokens: set[str] = set()
        self.issued = 0
        self._world = world

    def token(self) -> str:
        """A new one; it is good until the tokens are ended."""
        self.issued += 1
        value = "00D" + self._world.ids.new("sandbox!", 32)
        self.tokens.add(value)
        return value

    def save(self, named: str, fields: dict[str, Any]) -> tuple[Contact, bool]:
        """The contact, and whether it is new."""
        known = self.contacts.get(named.lower())
        contact = known or Contact(named.lower(), self._world.ids.new("003", 15))
        contact.fields |= {EXTERNAL_ID: named, **fields}
        contact.updated = time.time()
        self.contacts.put(contact)
        facts = {"to": contact.fields.get("Email"), "name": named, "created": known is None}
        self._world.effects.record(VENDOR, "contact", contact.reference, **facts)
        return contact, known is None
