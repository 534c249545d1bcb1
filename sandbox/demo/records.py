"""What does the shop tell its analytics and its CRM, and does it stand there?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sandbox.demo.facts import Facts
from sandbox.demo.orders import SUCCEEDED, USERS, Order

EVENTS, NOBODY = 300, 17
CONTACTS, UNKNOWN_FIELD, NAMELESS = 12, 5, 7
INVALID = "invalid_arguments"
# Each event goes to both: without a vendor, to Mixpanel.
ANALYTICS, CRM = (None, "segment"), ("hubspot", "salesforce")


def events() -> Iterator[Order]:
    """What the users did, one of them without an id."""
    for number in range(1, EVENTS + 1):
        user = "anonymous" if number == NOBODY else f"user-{number % USERS}"
        args = {"user": user, "event": "Order placed", "properties": {"order": number}}
        for vendor in ANALYTICS:
            # Segment takes any id for one.
            wrong = number == NOBODY and vendor is None
            yield Order("track_event", args, None, INVALID if wrong else SUCCEEDED, vendor)


def people() -> Iterator[Order]:
    """What is known of each user."""
    for number in range(USERS):
        args = {"user": f"user-{number}", "traits": {"plan": f"plan-{number % 3}"}}
        yield Order("identify_user", args)


def contacts() -> Iterator[Order]:
    """Who buys. One has a field that nobody knows; one has no name, which Salesforce wants."""
    for number in range(1, CONTACTS + 1):
        fields = {"first_name": f"First {number}", "last_name": f"Last {number}"}
        if number == UNKNOWN_FIELD:
            fields["colour"] = "blue"
        if number == NAMELESS:
            del fields["last_name"]
        for vendor in CRM:
            wrong = number == UNKNOWN_FIELD or (number == NAMELESS and vendor == "salesforce")
            args = {"email": f"buyer-{number}@example.com", "fields": fields}
            yield Order("upsert_contact", args, None, INVALID if wrong else SUCCEEDED, vendor)


def contacts_are_those_saved(facts: Facts) -> Iterator[str]:
    """By their addresses: Salesforce has no place for a job's id."""
    asked = [one for one in facts.asked if one.order.kind == "upsert_contact"]
    saved: Counter[tuple[str | None, str | None]] = Counter(
        (one.order.vendor, one.order.args["email"])
        for one in asked
        if one.id in facts.jobs and facts.jobs[one.id].status == SUCCEEDED
    )
    there: Counter[tuple[str | None, str | None]] = Counter(
        (e.vendor, e.to) for e in facts.effects if e.kind == "contact"
    )
    for vendor, email in saved - there:
        yield f"contact {email} is saved, and {vendor} does not have it"
    for vendor, email in there - saved:
        yield f"contact {email} was sent to {vendor} once too often"
