"""`upsert_contact_load`: one request's worth of contacts. Ferryman makes these by itself."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request


class UpsertContactLoad(Request):
    """Send the contacts that wait for their vendor. They stand in the ledger, not in here."""

    kind: ClassVar[str] = "upsert_contact_load"
    internal: ClassVar[bool] = True
