"""Celery's result backend on the ledger: `AsyncResult(job_id)` works, nothing is stored twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import states
from celery.backends.base import BaseBackend
from sqlalchemy import Engine, text

from ferryman.settings import settings
from models.engine import sync_engine

STATES = {
    "waiting": states.PENDING,
    "running": states.STARTED,
    "succeeded": states.SUCCESS,
    "failed": states.FAILURE,
    "unknown": "UNKNOWN",
    "cancelled": states.REVOKED,
}
META = text("SELECT status, result, error, finished_at FROM ferryman.jobs WHERE id = :id")


class LedgerBackend(BaseBackend):
    """Reads jobs; what Celery wants to store is in the ledger already."""

    _opened: Engine | None = None

    def store_result(self, task_id: str, result: Any, state: str, **_: Any) -> Any:
        return result

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """The job as Celery's result metadata."""
        with self._engine().connect() as connection:
            row = connection.execute(META, {"id": UUID(task_id)}).one_or_none()
        if row is None:
            return {"status": states.PENDING, "result": None}
        failure = {"exc_type": "JobFailed", "exc_message": [(row.error or {}).get("message")]}
        return {
            "task_id": task_id,
            "status": STATES[row.status],
            "result": failure if row.status == "failed" else row.result,
            "date_done": row.finished_at and row.finished_at.isoformat(),
        }

    def _engine(self) -> Engine:
        if self._opened is None:
            self._opened = sync_engine(settings().resolve_database_url())
        return self._opened
