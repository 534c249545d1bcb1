"""The ledger's row of a vendor as pybreaker sees it: it reads, and only PostgreSQL changes."""

from __future__ import annotations

from datetime import datetime

import pybreaker

from models.vendors import State


class Snapshot(pybreaker.CircuitBreakerStorage):
    """The ledger's row as last seen. pybreaker reads it; only PostgreSQL changes it."""

    def __init__(self, vendor: str) -> None:
        super().__init__(vendor)
        self.row = State(vendor)

    @property
    def state(self) -> str:
        return self.row.breaker

    @state.setter
    def state(self, state: str) -> None:
        """Set by the ledger alone."""

    @property
    def counter(self) -> int:
        return self.row.failures

    @property
    def success_counter(self) -> int:
        return 0

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        """Set by the ledger alone."""

    def increment_counter(self) -> None:
        """Counted by the ledger alone."""

    def reset_counter(self) -> None:
        """Counted by the ledger alone."""

    def increment_success_counter(self) -> None:
        """Counted by the ledger alone."""

    def reset_success_counter(self) -> None:
        """Counted by the ledger alone."""
