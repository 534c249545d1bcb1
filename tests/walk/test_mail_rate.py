"""A single mail does not wait behind a batch, however long that is."""

from __future__ import annotations

import time
from typing import Any

from ferryman.policies import policy
from tests.harness import Harness, until

LETTER = {"subject": "News", "text": "Hello."}
SLOW = {"do": "latency", "seconds": 1.0, "vendor": "sendgrid"}
PARTS = 100
SINGLES = 20
STATUSES = """
SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting,
       count(*) FILTER (WHERE status = 'running') AS running
  FROM ferryman.jobs WHERE kind = 'bulk_email_part'
"""
DUE = """
UPDATE ferryman.jobs SET run_at = now(), due_at = now()
 WHERE kind = 'bulk_email_part' AND status = 'waiting' RETURNING id
"""
# From its enqueue to its claim.
STARTS = """
SELECT extract(epoch FROM a.started_at - j.created_at)::float8 AS seconds
  FROM ferryman.jobs j JOIN ferryman.attempts a ON a.job_id = j.id
 WHERE j.id = ANY(%s) AND a.number = 1 ORDER BY 1
"""


def parts(harness: Harness) -> dict[str, Any]:
    return harness.row(STATUSES)


def test_a_single_mail_starts_within_a_second_while_a_batch_goes_on(harness: Harness) -> None:
    harness.sandbox.script([SLOW])
    harness.worker(FERRYMAN_CONCURRENCY="40")
    # Six a minute are requests of one mail each; then all are due at once.
    people = [{"to": f"user{n}@example.com"} for n in range(PARTS)]
    harness.enqueue("bulk_email", {**LETTER, "recipients": people, "per_minute": 6})
    until(lambda: parts(harness)["waiting"] + parts(harness)["running"] >= PARTS - 1)
    harness.rows(DUE)
    until(lambda: parts(harness)["running"] > 10, what="the batch has begun")

    jobs, most = [], 0
    for n in range(SINGLES):
        jobs.append(harness.enqueue("send_email", {**LETTER, "to": f"single{n}@example.com"}))
        time.sleep(0.05)
        most = max(most, parts(harness)["running"])
    waiting = parts(harness)["waiting"]

    assert harness.all_ended(jobs) == {"succeeded": SINGLES}
    starts = [row["seconds"] for row in harness.rows(STARTS, (jobs,))]
    assert starts[int(0.95 * SINGLES) - 1] < 1, starts
    assert waiting > 0, "the batch goes on"
    assert 10 < most <= policy("sendgrid").batch_in_flight
