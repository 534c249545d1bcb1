"""What a CRM tells of its contacts, and what of it stands in the ledger."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from adapters import _hubspot_news
from adapters._news import ContactNews
from models import contacts
from tasks import _hear_contact, _inbox, _settle
from tasks._base import Heard
from tests.tasks.riders import Station, station

Row = dict[str, Any]
NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        await made.rows("DELETE FROM ferryman.contacts")
        await known(made, "ada@example.com", "501")
        yield made


async def known(at: Station, email: str, reference: str, **more: Any) -> None:
    row = {"identity": email, "email": email, "external_id": None, "job_id": uuid7(), **more}
    async with at.ledger.transaction() as connection:
        await contacts.reserve(connection, "hubspot", [row])
        saved = {**row, "reference": reference, "fields": {"first_name": "Ada"}}
        await contacts.save(connection, "hubspot", [saved])


def news(what: str, seconds: float = 0, reference: str = "501", **more: Any) -> ContactNews:
    return ContactNews(NOW + timedelta(seconds=seconds), what, reference, **more)


async def hear(at: Station, *told: ContactNews) -> list[Any]:
    heard = [Heard("hubspot", one, f"event {n}", uuid7()) for n, one in enumerate(told)]
    async with at.ledger.transaction() as connection:
        return await _settle.kinds()["upsert_contact"].hear_all(connection, heard)


async def contact(at: Station, reference: str = "501") -> Row:
    (row,) = await at.rows(
        "SELECT * FROM ferryman.contacts WHERE vendor_reference = :ref", ref=reference
    )
    return row


async def test_a_change_moves_a_field_only_forward(at: Station) -> None:
    later = news("changed", 5, field="first_name", value="Augusta")
    earlier = news("changed", 1, field="first_name", value="A.")
    title = news("changed", 9, field="title", value="Countess")
    assert await hear(at, later, earlier, title) == ["changed"] * 3
    row = await contact(at)
    assert row["fields"] == {"first_name": "Augusta", "title": "Countess"}
    assert row["told_at"] == title.at

    assert await hear(at, earlier) == ["older than what is known"]
    cleared = news("changed", 10, field="title", value="")
    assert await hear(at, cleared) == ["changed"]
    assert (await contact(at))["fields"] == {"first_name": "Augusta"}


async def test_a_contact_that_is_not_known_is_nothing_to_us(at: Station) -> None:
    assert await hear(at, news("made", reference="9")) == ["of no contact of ferryman's"]
    assert len(await at.rows("SELECT FROM ferryman.contacts")) == 1


async def test_who_has_a_new_address_is_known_by_it(at: Station) -> None:
    await hear(at, news("changed", field="email", value="Lovelace@example.com"))
    row = await contact(at)
    assert (row["identity"], row["email"]) == ("lovelace@example.com", "Lovelace@example.com")


async def test_but_not_by_one_that_somebody_else_is_known_by(at: Station) -> None:
    await known(at, "bob@example.com", "502")
    await hear(at, news("changed", field="email", value="bob@example.com"))
    row = await contact(at)
    assert (row["identity"], row["email"]) == ("ada@example.com", "bob@example.com")


async def test_two_who_change_to_one_address_at_once(at: Station) -> None:
    await known(at, "bob@example.com", "502")
    change = {"field": "email", "value": "new@example.com"}
    await hear(at, news("changed", 1, **change), news("changed", 2, "502", **change))
    rows = await at.rows("SELECT identity FROM ferryman.contacts ORDER BY vendor_reference")
    assert [row["identity"] for row in rows] == ["new@example.com", "bob@example.com"]


async def test_deleted_and_restored(at: Station) -> None:
    await hear(at, news("deleted", 1))
    assert (await contact(at))["status"] == "deleted"
    await hear(at, news("restored", 2))
    assert (await contact(at))["status"] == "active"


async def test_nothing_is_kept_of_one_who_is_erased(at: Station) -> None:
    await hear(at, news("erased"))
    row = await contact(at)
    assert row["status"] == "deleted"
    assert "ada" not in str(row).lower()
    # He is a new one, should he come again.
    await known(at, "ada@example.com", "777")
    assert (await contact(at, "777"))["status"] == "active"


async def test_those_that_are_merged_are_one(at: Station) -> None:
    await known(at, "bob@example.com", "502")
    assert await hear(at, news("merged", reference="600", others=("501", "502"))) == ["merged"]
    rows = await at.rows("SELECT vendor_reference AS ref FROM ferryman.contacts")
    assert [row["ref"] for row in rows] == ["600", "600"]


def test_every_word_of_the_adapter_s_is_known() -> None:
    assert set(_hubspot_news.WHAT.values()) == set(_hear_contact.WHAT)


async def test_from_the_event_to_the_row(at: Station) -> None:
    payload = {"objectId": 501, "propertyName": "jobtitle", "propertyValue": "Countess"}
    await at.rows(
        "INSERT INTO ferryman.events (id, vendor, event_id, type, at, via, payload, due_at)"
        " VALUES (:id, 'hubspot', 'e', 'contact.propertyChange', :at, 'webhook',"
        " CAST(:payload AS jsonb), now())",
        id=uuid7(),
        at=NOW,
        payload=json.dumps(payload),
    )
    await _inbox.drain(at.ledger)
    assert (await contact(at))["fields"]["title"] == "Countess"
