"""What a worker says of each attempt: one JSON line."""

from __future__ import annotations

import json
from typing import Any

from tests.harness import Harness

FIELDS = {
    *("ts", "level", "event", "job_id", "kind", "vendor", "attempt", "outcome", "duration_ms"),
}


def test_one_line_an_attempt(harness: Harness) -> None:
    worker = harness.worker()
    jobs = [harness.charge(), harness.charge(payment_method="pm_card_chargeDeclined")]
    assert harness.all_ended(jobs) == {"succeeded": 1, "failed": 1}
    assert harness.stop(worker) == 0
    # Celery's own farewell goes to standard error, which stands in the same file here.
    written = [line for line in harness.logs().splitlines() if line.startswith("{")]
    events: list[dict[str, Any]] = [json.loads(line) for line in written]
    lines = {line["job_id"]: line for line in events if line["event"] == "attempt.ended"}
    assert set(lines) == {str(job_id) for job_id in jobs}
    for line in lines.values():
        assert set(line) == FIELDS
        assert (line["level"], line["kind"], line["vendor"]) == ("info", "charge", "stripe")
        assert line["attempt"] == 1
        assert 0 < line["duration_ms"] < 5_000
    assert lines[str(jobs[0])]["outcome"] == "succeeded"
    assert lines[str(jobs[1])]["outcome"] != "succeeded"
