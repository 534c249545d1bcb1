"""A job as the application holds it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal
from uuid import UUID

from ferryman._door import ENDED, Document, controls, door

# One look waits so long at most: an interrupted program ends soon.
LOOK_SECONDS = 10.0
PAUSE_SECONDS = 0.2


class Job:
    """What was known of a job when it was last looked at; `refresh()` looks again.

    Looking raises NotFound for a job whose transaction has not been committed.
    """

    def __init__(self, id: UUID, document: Document | None = None) -> None:
        self._id = id
        self._document = document

    def __repr__(self) -> str:
        return f"<ferryman.Job {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self._id)

    @property
    def id(self) -> UUID:
        return self._id

    @property
    def kind(self) -> str:
        return str(self.document["kind"])

    @property
    def status(self) -> str:
        """waiting, running, succeeded, failed, unknown or cancelled."""
        return str(self.document["status"])

    @property
    def reason(self) -> str | None:
        """Why a waiting job waits, in words."""
        return self._text("reason")

    @property
    def result(self) -> dict[str, Any] | None:
        """What a succeeded job has brought about."""
        result: dict[str, Any] | None = self.document.get("result")
        return result

    @property
    def error(self) -> dict[str, Any] | None:
        """Why a job failed: `code`, `message`, `type`."""
        error: dict[str, Any] | None = self.document.get("error")
        return error

    @property
    def batch_id(self) -> UUID | None:
        """The batch that a bulk job made, or that this job is part of."""
        found = self._text("batch_id")
        return UUID(found) if found else None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself; `unknown` may still be settled from outside."""
        return self.status in ENDED

    @property
    def document(self) -> Document:
        """All of it, as the HTTP API shows it; of a job just made, what is known without a look."""
        return self._document if self._document is not None else self.refresh().document

    def refresh(self) -> Job:
        """Look again."""
        self._document = door().job(self._id)
        return self

    async def arefresh(self) -> Job:
        """Look again, from an event loop."""
        return await asyncio.to_thread(self.refresh)

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, at most `timeout` seconds. Raises TimeoutError."""
        until = _until(timeout)
        while True:
            left = until - time.monotonic()
            self._document = door().job(self._id, wait=max(0.0, min(left, LOOK_SECONDS)))
            if self.ended:
                return self
            self._give_up(until)
            time.sleep(PAUSE_SECONDS)

    async def await_end(self, timeout: float | None = None) -> Job:  # noqa: ASYNC109
        """The same from an event loop. Raises TimeoutError."""
        until = _until(timeout)
        while not (await self.arefresh()).ended:
            self._give_up(until)
            await asyncio.sleep(PAUSE_SECONDS)
        return self

    def cancel(self, note: str | None = None) -> Job:
        """Stop the job before it has any effect. Where its request may have left already, the
        status is not `cancelled` afterwards: look again, its end will tell.

        Raises NotPossible (it has ended), NotFound, and MissingSetting without an HTTP API.
        """
        self._document = controls().cancel(self._id, note)
        return self

    def retry(self, note: str | None = None) -> Job:
        """Run a failed or unknown job again; `warning` tells what may go wrong with that.

        Raises NotPossible (it is neither), NotFound, and MissingSetting without an HTTP API.
        """
        self._document = controls().retry(self._id, note)
        return self

    @property
    def warning(self) -> str | None:
        """After `retry()`: that the effect may come about a second time, if so."""
        return self._text("warning")

    def resolve(self, outcome: Literal["succeeded", "failed"], note: str) -> Job:
        """Say how an unknown job ended, as seen at the vendor's side; `note`: how that was seen.

        Raises NotPossible (it is not unknown), NotFound, InvalidArguments, and MissingSetting
        without an HTTP API.
        """
        self._document = controls().resolve(self._id, outcome, note)
        return self

    def _give_up(self, until: float) -> None:
        if time.monotonic() >= until:
            raise TimeoutError(
                f"job {self._id} is still {self.status}: {self.reason or 'no reason'}"
            )

    def _text(self, name: str) -> str | None:
        value = self.document.get(name)
        return None if value is None else str(value)


def _until(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout
