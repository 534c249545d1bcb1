"""A driver of jobs on a real ledger, and what its vendor answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.tasks.driver import Driver, driving
from tests.tasks.mails import Script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setenv("SENDGRID_API_KEY", "a key")
    monkeypatch.setenv("FROM_EMAIL", "sender@example.com")
    return Script()


@pytest.fixture
async def driver(database_url: str, script: Script) -> AsyncIterator[Driver]:
    async with driving(database_url, script) as made:
        await made.rows("UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL")
        await made.rows("DELETE FROM ferryman.suppressions")
        yield made
