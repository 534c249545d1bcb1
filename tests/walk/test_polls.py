"""Vendors are asked for their events on a schedule, once in the whole cluster."""

from __future__ import annotations

from tests.harness import Harness, until

POLLS = "SELECT * FROM ferryman.jobs WHERE kind = 'poll_events' ORDER BY vendor"
DAY = "86400"


def test_two_workers_poll_each_vendor_once(harness: Harness) -> None:
    """Only those whose credentials are set: here Stripe."""
    harness.worker(FERRYMAN_POLL_SECONDS=DAY)
    harness.worker(FERRYMAN_POLL_SECONDS=DAY)

    until(
        lambda: [job["status"] for job in harness.rows(POLLS)] == ["succeeded"],
        what="the poll has succeeded",
    )

    (poll,) = harness.rows(POLLS)
    assert poll["vendor"] == "stripe"
    assert poll["key"].startswith("poll:stripe:")
    assert (poll["priority"], poll["result"]["seen"]) == ("low", 0)
    paths = [one["path"] for one in harness.sandbox.requests("stripe")]
    assert paths == ["/v1/events"]
