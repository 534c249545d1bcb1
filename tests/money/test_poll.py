"""What no webhook brought is asked for: the vendor's own list of events."""

from __future__ import annotations

from tasks import _inbox
from tests.money.bank import Bank


async def polled(bank: Bank, **args: int) -> dict[str, int]:
    job = await bank.run(await bank.enqueue("poll_events", args))
    assert job["status"] == "succeeded", job
    while await _inbox.drain(bank.driver.ledger):
        pass
    return {name: job["result"][name] for name in ("seen", "new")}


async def test_a_gap_is_filled_once(bank: Bank) -> None:
    charge = await bank.charged(1000)
    bank.give_back(await bank.row(charge), 400)

    first, second = await polled(bank), await polled(bank)

    assert first["seen"] == first["new"] > 0
    assert second == {"seen": first["seen"], "new": 0}
    rows = await bank.driver.rows("SELECT via, due_at, outcome FROM ferryman.events")
    assert {(row["via"], row["due_at"]) for row in rows} == {("poll", None)}
    await bank.read_again()
    assert (await bank.job(charge))["shown"]["refunded"] == 400


async def test_the_next_look_begins_where_the_last_ended(bank: Bank) -> None:
    await polled(bank)
    (row,) = await bank.driver.rows(
        "SELECT polled_until FROM ferryman.vendor_states WHERE vendor = :vendor", vendor=bank.vendor
    )

    job = await bank.run(await bank.enqueue("poll_events", {}))

    assert job["result"]["since"] < row["polled_until"].isoformat().replace("+00:00", "Z")
    assert job["result"]["until"] > row["polled_until"].isoformat().replace("+00:00", "Z")


async def test_a_poll_that_fails_moves_nothing(bank: Bank) -> None:
    bank.sandbox.script([{"vendor": bank.vendor, "method": "GET", "do": "error_before"}])

    job = await bank.run(await bank.enqueue("poll_events", {}))

    assert (job["status"], job["attempts"]) == ("waiting", 1)
    (row,) = await bank.driver.rows(
        "SELECT polled_until FROM ferryman.vendor_states WHERE vendor = :vendor", vendor=bank.vendor
    )
    assert row["polled_until"] is None


async def test_an_event_by_webhook_and_by_poll_is_one_row(bank: Bank) -> None:
    await bank.charged(1000)
    await bank.hear()
    (before,) = await bank.driver.rows("SELECT count(*) AS n FROM ferryman.events")

    counts = await polled(bank)

    assert counts == {"seen": before["n"], "new": 0}
