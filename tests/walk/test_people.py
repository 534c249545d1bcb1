"""Events, people and contacts from enqueue to ledger, on a real worker, at all four vendors, while
answers are lost: each record once by its own id."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.harness import Harness, until

JOBS = 8


@pytest.fixture
def town(harness: Harness) -> Harness:
    """With an account at each of them."""
    harness.env |= harness.sandbox.environment()
    return harness


def enqueue(town: Harness, kind: str, args: dict[str, Any], vendor: str) -> Any:
    return town.enqueue(kind, args, vendor=vendor)


def test_each_record_takes_effect_once(town: Harness) -> None:
    lost = ("mixpanel", "segment", "salesforce", "hubspot")
    town.sandbox.script(
        [{"vendor": one, "do": "drop_after", "when": {"nth": [2, 5]}} for one in lost]
        + [{"vendor": one, "do": "throttle", "when": {"nth": [7]}} for one in lost]
    )
    jobs = []
    for n in range(JOBS):
        event = {"user": f"user-{n}", "event": "Signed in", "properties": {"n": n}}
        contact = {
            "email": f"ada{n}@example.com",
            "fields": {"first_name": "Ada", "last_name": "Lovelace"},
        }
        for vendor in ("mixpanel", "segment"):
            jobs.append(enqueue(town, "track_event", event, vendor))
            traits = {"user": f"user-{n}", "traits": {"n": n}}
            jobs.append(enqueue(town, "identify_user", traits, vendor))
        for vendor in ("salesforce", "hubspot"):
            one = enqueue(town, "upsert_contact", contact, vendor)
            jobs.append(one)
    bad = enqueue(town, "track_event", {"user": "null", "event": "x"}, "mixpanel")
    town.worker()

    assert town.all_ended([*jobs, bad]) == {"succeeded": 6 * JOBS, "failed": 1}

    assert town.job(bad)["error"]["field"] == "user"
    totals = town.sandbox.totals()
    assert totals["mixpanel"]["event"] == totals["segment"]["event"] == JOBS
    assert totals["segment"]["person"] == JOBS
    for vendor in ("mixpanel", "segment"):
        effects = town.sandbox.effects(vendor, "event")
        assert Counter(one["job"] for one in effects).keys() <= {str(one) for one in jobs}
    assert town.sandbox.dashboard("salesforce", "count")["contacts"] == JOBS
    assert town.sandbox.dashboard("hubspot", "count")["contacts"] == JOBS


def test_a_day_s_limit_parks_the_jobs_and_says_until_when(town: Harness) -> None:
    town.sandbox.dashboard("hubspot", "settings", daily=1)
    town.worker()
    contact = {"email": "ada@example.com"}
    jobs = [enqueue(town, "upsert_contact", contact, "hubspot") for _ in range(3)]

    shown = "SELECT status, ferryman.reason(jobs) AS reason FROM ferryman.jobs WHERE id = ANY(%s)"

    def parked() -> bool:
        waiting = [one for one in town.rows(shown, (jobs,)) if one["status"] == "waiting"]
        return len(waiting) == 2 and all("until 00:00" in str(one["reason"]) for one in waiting)

    until(parked, what="two wait for midnight")
    asked = town.sandbox.requests("hubspot")
    # Its first answer tells already that nothing is left of the day.
    assert 1 <= len(asked) <= 3
    cools = "SELECT cooldown_until > now() AS cools FROM ferryman.vendor_states WHERE vendor = %s"
    assert town.row(cools, ("hubspot",))["cools"]
