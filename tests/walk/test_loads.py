"""Jobs that travel together, from the enqueue to the vendor on a real worker: they are seen while
they wait, leave in few requests, and keep to the vendor's day.

Kills and faults: tests/chaos/test_events.py and test_contacts.py.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.harness import Harness, until

COUNT = 2000
EVENTS = """
SELECT ferryman.enqueue('track_event', jsonb_build_object(
         'user', CASE WHEN n %% 1000 = 0 THEN 'anonymous' ELSE 'user-' || n END,
         'event', 'Order placed', 'properties', jsonb_build_object('n', n))) AS id
  FROM generate_series(1, %s::int) AS n
"""
DAY = "salesforce's daily limit is reached, until "
REASON = "SELECT coalesce(ferryman.reason(jobs), '') AS reason FROM ferryman.jobs WHERE id = %s"


@pytest.fixture
def town(harness: Harness) -> Harness:
    """With accounts at all vendors."""
    harness.env |= harness.sandbox.environment()
    return harness


def test_two_thousand_events_are_seen_waiting_and_leave_in_one_request(town: Harness) -> None:
    ids = [row["id"] for row in town.rows(EVENTS, (COUNT,))]
    seen_waiting(town, town.api())
    town.worker()

    town.all_ended(ids)
    each_good_one_is_there_once(town, ids)
    assert len(town.sandbox.requests("mixpanel")) == 1
    (load,) = town.rows("SELECT * FROM ferryman.loads")
    assert load["records"] == COUNT - 2


def seen_waiting(town: Harness, url: str) -> None:
    """By those who look at the vendors, and by Prometheus."""
    cards = httpx.get(f"{url}/v1/vendors").json()["vendors"]
    (waiting,) = (card["waiting"] for card in cards if card["vendor"] == "mixpanel")
    assert waiting == COUNT
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    told = [line for line in lines if 'vendor="mixpanel"' in line and line.endswith(f" {COUNT}.0")]
    assert told, [line for line in lines if "mixpanel" in line]


def each_good_one_is_there_once(town: Harness, ids: list[Any]) -> None:
    rows = town.rows("SELECT id, status, error FROM ferryman.jobs WHERE id = ANY(%s)", (ids,))
    bad = [row for row in rows if row["status"] != "succeeded"]
    assert {(row["status"], row["error"]["field"]) for row in bad} == {("failed", "user")}
    assert len(bad) == len(ids) // 1000
    there = town.sandbox.effects(vendor="mixpanel", kind="event")
    wanted = [str(row["id"]) for row in rows if row["status"] == "succeeded"]
    assert sorted(one["reference"] for one in there) == sorted(wanted)


def test_at_the_end_of_its_day_a_vendor_is_left_alone(town: Harness) -> None:
    """Salesforce's day ends bit by bit, so that only a refusal tells that it is over. HubSpot's,
    which ends at midnight: tests/client/test_cli_loads.py."""
    town.sandbox.dashboard("salesforce", "settings", daily=1)
    town.worker()
    assert town.ended(contact(town, 1))["status"] == "succeeded"
    asked = len(town.sandbox.requests("salesforce"))
    refused = contact(town, 2)
    until(lambda: DAY in told(town, refused), what="it is told why it waits")

    others = [contact(town, n) for n in range(3, 6)]

    assert all(DAY in told(town, job) for job in others)
    time.sleep(1.0)  # two rounds of the relay
    assert len(town.sandbox.requests("salesforce")) == asked + 1
    assert [town.job(job)["status"] for job in (refused, *others)] == ["waiting"] * 4


def contact(town: Harness, n: int) -> UUID:
    args = {"email": f"person{n}@example.com", "fields": {"last_name": "Lovelace"}}
    return town.enqueue("upsert_contact", args, vendor="salesforce")


def told(town: Harness, job: UUID) -> str:
    """Why it waits."""
    reason: str = town.row(REASON, (job,))["reason"]
    return reason
