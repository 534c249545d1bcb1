"""One slow vendor with a thousand jobs does not slow another one down."""

from __future__ import annotations

import time
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.harness import Harness, until

MAILS, PAUSE_SECONDS = 40, 0.04
# Long enough that a busy machine's hiccups do not decide.
USUAL_SECONDS = 0.3
ENQUEUE = """
SELECT ferryman.enqueue('charge', %s || jsonb_build_object('customer', 'u' || n))
  FROM generate_series(1, 1000) AS n
"""
P95 = """
SELECT percentile_disc(0.95) WITHIN GROUP (
         ORDER BY extract(epoch FROM finished_at - created_at))::float8 AS p95
  FROM ferryman.jobs WHERE id = ANY(%s)
"""


def mails(harness: Harness) -> float:
    """Send some, evenly in time; the p95 of the seconds from enqueue to end."""
    jobs: list[UUID] = []
    for n in range(MAILS):
        args = {"to": f"user-{n}@example.com", "subject": "Hi", "text": "Hello"}
        jobs.append(harness.enqueue("send_email", args))
        time.sleep(PAUSE_SECONDS)
    assert harness.all_ended(jobs) == {"succeeded": MAILS}
    found: float = harness.row(P95, (jobs,))["p95"]
    return found


def test_a_slow_vendor_s_backlog_slows_no_other(harness: Harness) -> None:
    harness.sandbox.script(
        [
            {"vendor": "stripe", "do": "latency", "seconds": 30},
            {"vendor": "sendgrid", "do": "latency", "seconds": USUAL_SECONDS},
        ]
    )
    harness.worker(FERRYMAN_CONCURRENCY="60")
    mails(harness)
    usual = mails(harness)

    charge = {"amount": 1250, "currency": "usd", "payment_method": "pm_card_visa"}
    harness.connection.execute(ENQUEUE, (Jsonb(charge),))
    until(lambda: len(harness.sandbox.requests("stripe")) >= 60)

    assert mails(harness) <= 1.5 * usual
    in_flight = harness.rows("SELECT FROM ferryman.sends WHERE answered_at IS NULL")
    assert len(in_flight) == 60, "the slow vendor has what was asked for, and no more"
