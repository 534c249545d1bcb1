"""A worker process's lease: renewed by a thread of its own, so that a busy loop loses nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from ferryman.settings import settings
from models import workers
from models.engine import sync_engine
from worker import health

log = structlog.get_logger()


@dataclass
class Lease:
    """Until when, on this process's monotonic clock, the worker surely holds its jobs."""

    worker: UUID
    valid_until: float

    def holds(self) -> bool:
        return time.monotonic() < self.valid_until


class Heartbeat:
    """Registers the process and renews its lease every third of its life."""

    def __init__(self, url: str, lease_seconds: float) -> None:
        self._engine = sync_engine(url)
        self._seconds = lease_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ferryman-heartbeat", daemon=True)
        self._well_since = time.monotonic()
        self.lease = self._register()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the lease in order: nothing is held any more."""
        self._stopping.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                workers.leave(connection, self.lease.worker)
        except DBAPIError:
            log.warning("lease.not_ended", worker=str(self.lease.worker))
        self._engine.dispose()

    def well_for(self) -> float:
        """Seconds since the last trouble with the ledger: after an outage every lease is old, and
        who judges others must first have let them beat."""
        return time.monotonic() - self._well_since

    def _beat(self) -> None:
        while not self._stopping.wait(self._seconds / 3):
            health.mark("heartbeat")
            try:
                self._renew()
            except Exception as error:  # a dead heartbeat is a worker that does nothing any more
                self._well_since = time.monotonic()
                log.warning("lease.renewal_failed", error=type(error).__name__)

    def _renew(self) -> None:
        asked = time.monotonic()
        with self._engine.begin() as connection:
            kept = workers.renew(connection, self.lease.worker, self._seconds)
        if kept:
            self.lease.valid_until = asked + self._seconds
            return
        log.warning("lease.lost", worker=str(self.lease.worker))
        self._well_since = time.monotonic()
        self.lease = self._register()

    def _register(self) -> Lease:
        asked = time.monotonic()
        worker = uuid7()
        name = f"{socket.gethostname()}:{os.getpid()}"
        with self._engine.begin() as connection:
            workers.register(connection, worker, name, self._seconds, settings().concurrency)
        return Lease(worker, asked + self._seconds)
