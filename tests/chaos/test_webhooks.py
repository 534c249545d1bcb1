"""Webhooks that are lost, late, sent twice and in any order, to an API whose ledger goes away."""

from __future__ import annotations

import time
from uuid import UUID

import httpx

from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import (
    CHARGES,
    PATIENT,
    both_banks,
    listen,
    payers_agree,
    paypal,
    settled,
)
from tests.chaos.servers import Breakable
from tests.harness import Harness, until

HOUR = "3600"
EVENTS = "SELECT event_id, handled_at FROM ferryman.events"
SETTLED = """
SELECT job_id FROM ferryman.interventions WHERE action = 'settle' AND who LIKE 'stripe, event %'
"""
PAYERS = "SELECT FROM ferryman.charges WHERE status = 'requires_action'"


@long
def test_the_ledger_goes_away_among_deliveries(
    broken: Harness, servers_to_break: Breakable, scale: Scale, accounted: Accounted
) -> None:
    """What was not stored was not answered with a yes, so the vendors send it again."""
    both_banks(broken).worker(**PATIENT)
    listen(broken, broken.api(), duplicates=3, shuffle=True)
    most = scale(20, 100)
    jobs = [pay(broken, n) for n in range(most) for pay in (Harness.charge, paypal)]
    until(lambda: sum(one["delivered"] for one in deliveries(broken)) > most, what="some came")

    servers_to_break.stop_database()
    until(lambda: refusals(broken), what="the API has said that it cannot store any")
    servers_to_break.start_database(broken)

    assert settled(broken, jobs) == {"succeeded": 2 * most}
    until(lambda: all(one["delivered"] for one in deliveries(broken)), 40, what="all were taken")
    until(lambda: all(row["handled_at"] for row in broken.rows(EVENTS)), what="all were read")
    stored = [row["event_id"] for row in broken.rows(EVENTS)]
    assert sorted(stored) == sorted({one["id"] for one in deliveries(broken)})
    accounted(broken, jobs)


def deliveries(harness: Harness) -> list[dict[str, object]]:
    return harness.sandbox.deliveries()


def refusals(harness: Harness) -> set[object]:
    """What other answers there were than a yes."""
    said = {status for one in harness.sandbox.deliveries() for status in one["tries"]}
    assert said <= {200, 503, None}
    return said - {200}


@long
def test_lost_late_and_repeated_webhooks(
    harness: Harness, scale: Scale, accounted: Accounted
) -> None:
    """Each is the only one to tell: a doubt is looked up in an hour, and a payer who agrees is
    found out about after a while."""
    url = both_banks(harness).api()
    harness.worker(**PATIENT | {"FERRYMAN_LOOK_UP_SECONDS": HOUR})
    # Stripe keeps the failure under the key, so that no repeat can tell.
    harness.sandbox.script([{**CHARGES, "do": "error_after"}])
    jobs: list[UUID] = []
    for way in ({"lost": True}, {"delay": 1.0}, {"duplicates": 5, "shuffle": True}):
        lost = "lost" in way
        listen(harness, None if lost else url, **({} if lost else way))
        new = [harness.charge(n) for n in range(len(jobs), len(jobs) + scale(4, 20))]
        new += [paypal(harness, n, payment_method="paypal") for n in range(len(new))]
        asked = len(new) // 2
        until(lambda n=asked: len(harness.rows(PAYERS)) == n, what="the payers are asked")
        payers_agree(harness)
        until(lambda n=new: not open_stripe(harness, n), what="Stripe's are in doubt or settled")
        if lost:
            time.sleep(0.2)
            for vendor in ("stripe", "paypal"):
                assert httpx.post(f"{url}/v1/vendors/{vendor}/poll-events").status_code == 202
        assert harness.all_ended(new) == {"succeeded": len(new)}
        jobs += new

    assert settled(harness, jobs) == {"succeeded": len(jobs)}
    until(lambda: all(row["handled_at"] for row in harness.rows(EVENTS)), what="all are read")
    # Each of Stripe's was settled by an event, once.
    assert len(harness.rows(SETTLED)) == len(jobs) // 2
    accounted(harness, jobs)


def open_stripe(harness: Harness, jobs: list[UUID]) -> list[dict[str, object]]:
    query = """
    SELECT id FROM ferryman.jobs
     WHERE id = ANY(%s) AND vendor = 'stripe' AND status NOT IN ('unknown', 'succeeded')
    """
    return harness.rows(query, (jobs,))
