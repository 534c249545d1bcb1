"""Contacts from a CSV to each CRM through three kills: there each good one stands once, each bad
one has failed, or was set aside by its line, with its field and the reason.

Five hundred in every run; twenty thousand by `make chaos`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman._door import database
from ferryman.policies import policy
from tests.chaos.account import Account
from tests.chaos.conftest import SOAK, Scale, Tabled, long
from tests.chaos.loads import Convoy
from tests.harness import Harness, until

KILLS = 3 if SOAK else 1
PATIENCE = 300.0 if SOAK else 40.0
SETTINGS = {"FERRYMAN_LEASE_SECONDS": "1", "FERRYMAN_BACKOFF_SECONDS": "0.1"}
# Of each five hundred lines, by their number within these: no address; two people with one address;
# the same as the line above; and one that the vendor alone refuses.
GROUP, NOBODY, TWO, AGAIN, REFUSED, LOCKED = 500, 100, 200, 300, 400, 450
# What that last one has, and how its error is told.
WRONG = {"hubspot": ("lifecyclestage", "nonsense"), "salesforce": ("last_name", "x" * 90)}
LINE_OF_FIRST = 2
ENDS = """
SELECT args ->> 'email' AS email, status, error ->> 'field' AS field, error ->> 'code' AS code
  FROM ferryman.jobs WHERE batch_id = %s AND kind = 'upsert_contact'
"""
ASIDE = "SELECT place, status, field FROM ferryman.set_aside WHERE batch_id = %s"
KEPT = "SELECT email, vendor_reference FROM ferryman.contacts WHERE status = 'active'"


def lines(count: int, vendor: str) -> Iterator[str]:
    name, value = WRONG[vendor]
    yield "to,first_name,title,last_name" + ",lifecyclestage" * (vendor == "hubspot")
    for n in range(count):
        own = n - 1 if n % GROUP in (TWO + 1, AGAIN) else n
        title = f"T{n if n % GROUP == TWO + 1 else own}"
        last = value if n % GROUP == REFUSED and name == "last_name" else f"L{own}"
        row = [address(own) if n % GROUP != NOBODY else f"nobody-{n}", f"F{own}", title, last]
        if vendor == "hubspot":
            row.append(value if n % GROUP == REFUSED else "lead")
        yield ",".join(row)


def address(n: int) -> str:
    return f"person{n}@example.com"


@pytest.mark.parametrize("vendor", ["hubspot", pytest.param("salesforce", marks=long)])
def test_contacts_through_kills(
    harness: Harness, tmp_path: Path, scale: Scale, tabled: Tabled, vendor: str
) -> None:
    count, begun = scale(500, 20_000), time.monotonic()
    harness.env |= harness.sandbox.environment() | SETTINGS
    bad_weather(harness, vendor)
    batch = imported(harness, tmp_path, vendor, count)
    convoy = Convoy(harness, KILLS + 1)
    for kill in range(KILLS):
        convoy.kill_one("upsert_contact", int(count * (0.2 + 0.25 * kill)), PATIENCE)
    until(lambda: look(harness, batch)["status"] == "done", PATIENCE, what="the import is done")
    convoy.arrive(PATIENCE)

    made = compared(harness, batch, vendor, count)
    tabled(made)
    answers = Counter(one["status"] for one in harness.sandbox.requests(vendor))
    seconds = time.monotonic() - begun
    print(f"{count} at {vendor} in {seconds:.0f} s; {convoy.undisturbed()} requests undisturbed")
    print(f"answers {dict(answers)}")
    assert made.clean, made
    assert convoy.undisturbed() <= 1.1 * math.ceil(count / policy(vendor).batch_size) + 1


def bad_weather(harness: Harness, vendor: str) -> None:
    faults: list[dict[str, Any]] = [
        {"do": "latency", "seconds": 0.1},
        {"do": "drop_after", "when": {"nth": [2]}},
        {"do": "status", "status": 503, "when": {"probability": 0.1}},
    ]
    path = "/crm/v3/objects/contacts/batch/upsert" if vendor == "hubspot" else "/services/data/*"
    harness.sandbox.script([{"vendor": vendor, "path": path, **fault} for fault in faults])
    if vendor == "salesforce":
        # Somebody else writes it just then.
        harness.sandbox.dashboard(vendor, "lock", external_id=address(LOCKED))


def imported(harness: Harness, folder: Path, vendor: str, count: int) -> Any:
    path = folder / "contacts.csv"
    path.write_text("\n".join(lines(count, vendor)) + "\n")
    with path.open("rb") as file:
        upload = database(harness.database).upload(file, "csv")["id"]
    return harness.enqueue("bulk_contacts", {"upload": upload}, vendor=vendor)


def look(harness: Harness, batch: Any) -> dict[str, Any]:
    found: dict[str, Any] = harness.row("SELECT ferryman.batch(%s) AS batch", (batch,))["batch"]
    return found


def compared(harness: Harness, batch: Any, vendor: str, count: int) -> Account:
    """The list, the ledger and the vendor, contact by contact."""
    aside, refused, good = wanted(count)
    rows = harness.rows(ENDS, (batch,))
    saved = {row["email"] for row in rows if row["status"] == "succeeded"}
    failed = {row["email"]: row["field"] for row in rows if row["status"] == "failed"}
    there = harness.sandbox.effects(vendor, "contact")
    made = Counter(one["to"] for one in there if one["created"])
    unexplained = [f"the batch is {look(harness, batch)['counts']}"] * (
        len(rows) + len(aside) != count
    )
    if (told := {tuple(row.values()) for row in harness.rows(ASIDE, (batch,))}) != aside:
        unexplained.append(f"set aside: {told ^ aside}")
    if failed != dict.fromkeys(refused, f"fields.{WRONG[vendor][0]}"):
        unexplained.append(f"failed: {failed}")
    if {row["email"]: row["vendor_reference"] for row in harness.rows(KEPT)} != {
        one["to"]: one["reference"] for one in there
    }:
        unexplained.append("ferryman.contacts is not what the vendor has")
    return Account(
        jobs=len(rows),
        lost=sorted(good - saved | good - made.keys()),
        twice=[address for address, n in made.items() if n > 1],
        unexplained=unexplained + sorted(made.keys() - good),
        statuses=Counter(row["status"] for row in rows),
    )


def wanted(count: int) -> tuple[set[tuple[int, str, str]], set[str], set[str]]:
    """By the list alone: what is set aside, who is refused by the vendor, and who is saved."""
    aside, groups = set[tuple[int, str, str]](), range(0, count, GROUP)
    for first in groups:
        line = first + LINE_OF_FIRST
        aside |= {(line + place, "invalid", "email") for place in (NOBODY, TWO, TWO + 1)}
        aside.add((line + AGAIN, "duplicate", "email"))
    refused = {address(first + REFUSED) for first in groups}
    gone = {NOBODY, TWO, TWO + 1, AGAIN, REFUSED}
    return aside, refused, {address(n) for n in range(count) if n % GROUP not in gone}
