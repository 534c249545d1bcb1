"""The Celery task around every kind of job: autoretry on the surface, the ledger underneath."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore, Retry
from sqlalchemy.util import await_only

from adapters._base import NotSent, Unavailable, Unknown, VendorError
from ferryman.errors import InvalidArguments
from ferryman.policies import policies
from tasks._base import Job, Pending, Refusal, Stopped
from worker.execution import Execution
from worker.verdict import Cancelled, Expired, HandedBack, LeaseLost

QUEUE_PREFIX = "ferryman."


class Defect(Exception):
    """A job met an error that is ferryman's own. Its text and traceback are in the ledger: here
    they might carry a payload into Celery's log and events."""


class JobTask(Task):
    """Runs in a greenlet on the event loop, so its plain `run()` may wait for async code.

    `retry()` writes the next run into the ledger; no delayed message is ever sent, since the
    broker would deliver one again past its visibility timeout.
    """

    abstract = True
    autoretry_for = (NotSent, Unknown, Unavailable)
    retry_backoff = True
    retry_backoff_max = 300
    retry_jitter = True
    # The ledger counts; Celery's own count starts anew with each message.
    max_retries = None
    ignore_result = True
    # Expected ends: logged in one line, without a traceback.
    throws = (VendorError, Refusal, InvalidArguments, Expired, Cancelled, Pending, Stopped)
    job: ClassVar[Job[Any]]

    def run(self, *_: Any, **__: Any) -> None:
        begin = Execution.begin(self.app.runtime, self.job, UUID(self.request.id), self._vendor())
        try:
            execution = await_only(begin)
        except asyncio.CancelledError:
            raise Ignore from None
        except Exception as error:
            raise Defect(type(error).__name__) from None
        if execution is None:
            raise Ignore
        self.request.execution = execution
        try:
            await_only(execution.perform())
        except self.autoretry_for:
            raise
        except LeaseLost:
            # Where it was lost before anything left, the job is still ours to give back.
            raise self._end(HandedBack()) from None
        except Exception as error:
            raise self._end(error) from None

    def retry(self, *_: Any, exc: Exception, **__: Any) -> Any:
        """What `autoretry_for` calls: the ledger decides whether and when the job runs again."""
        raise self._end(exc) from None

    def _end(self, error: Exception) -> Exception:
        try:
            decided = await_only(self.request.execution.end(error))
        except LeaseLost:
            ignored: Exception = Ignore()
            return ignored
        except Exception as trouble:
            return Defect(type(trouble).__name__)
        if decided.status == "waiting":
            again: Exception = Retry(decided.reason, when=round(decided.delay_seconds, 1))
            return again
        return error if isinstance(error, self.throws) else Defect(type(error).__name__)

    def _vendor(self) -> str:
        queue = str((self.request.delivery_info or {}).get("routing_key", ""))
        vendor = queue.removeprefix(QUEUE_PREFIX)
        if vendor not in policies():
            raise Ignore
        return vendor


def task_for(job: Job[Any]) -> Task:
    """The Celery task of a kind: `ferryman.<kind>`."""
    kind = job.request.kind
    attributes = {"name": f"ferryman.{kind}", "job": job, "__module__": __name__}
    made: Task = type(f"{kind}_task", (JobTask,), attributes)()
    return made
