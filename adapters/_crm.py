"""What the jobs of contacts ask of a vendor of CRM, in our words, and how fields get its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from adapters._base import Call
from adapters._records import STEP, Outcome, Record, refused
from ferryman.policies import Policy

EMAIL = "email"


@dataclass(frozen=True)
class Contact:
    """A person in the CRM. `fields` by our names or the vendor's own; None clears one.
    `external_id`: what the application itself knows him by."""

    id: str
    email: str
    fields: Mapping[str, Any]
    external_id: str | None = None


class Crm(Protocol):
    """A vendor that keeps contacts."""

    def contact(self, one: Contact) -> Record:
        """The contact as the vendor takes it; asks nobody. Raises RefusedRecord, naming a field
        that it does not know."""
        ...

    async def upsert(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """Make or change contacts in one request, in which each `name` stands once. Raises Whole
        where the vendor refuses it as a whole."""
        ...


def mapped(policy: Policy, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under the vendor's names. Raises RefusedRecord for one that is not known, for two
    that are the same there, and for a value that no field holds."""
    theirs = {*policy.fields.values(), *policy.own_fields}
    found: dict[str, Any] = {}
    for name, value in fields.items():
        there = policy.fields.get(name, name)
        if name.lower() == EMAIL or there == policy.id_field:
            raise refused(f"fields.{name}", "is an argument of its own, beside the fields")
        if there not in theirs:
            raise refused(f"fields.{name}", _unknown(policy, name))
        if there in found:
            raise refused(f"fields.{name}", "is given twice, once under another name")
        if isinstance(value, list | dict):
            raise refused(f"fields.{name}", "must be text, a number, true, false or null")
        found[there] = value
    return found


def ours(policy: Policy, theirs: str) -> str:
    """The argument that one of the vendor's fields comes from."""
    if theirs.lower() == EMAIL:
        return EMAIL
    if theirs == policy.id_field:
        return "external_id"
    here = next((name for name, there in policy.fields.items() if there == theirs), theirs)
    return f"fields.{here}"


def _unknown(policy: Policy, name: str) -> str:
    known = [*policy.fields, *policy.own_fields]
    if close := get_close_matches(name, known, n=1):
        return f"is not known; did you mean `{close[0]}`?"
    return f"is not known; there are {', '.join(known)}, and what vendors.toml adds to them"
