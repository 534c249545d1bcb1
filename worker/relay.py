"""The relay: a thread that brings due jobs from the ledger to the broker, and foreign messages
from the broker into the ledger. One acts at a time, in the whole cluster."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import psycopg
import redis
import structlog
from celery import bootsteps

from adapters._base import adapter
from ferryman.policies import policies
from ferryman.settings import settings
from models import relay as ledger
from models.gather import IN_ORDER, Lane, gather
from models.relay import Due, Room
from models.tables import RIDING
from models.vendors import State
from worker import door, health
from worker.drain import DRAINED
from worker.envelope import envelope

log = structlog.get_logger()

TICK_SECONDS = 0.5
# After a tick that found work the next one waits so long: a thousand enqueues are few ticks, and
# a queue's window lasts far longer than that.
BREATH_SECONDS = 0.04
# So much of a rated vendor's work is under way: more than a tick lasts, less than a job waits for
# a token in memory.
PACED_SECONDS = 0.75
BROKER_SECONDS = 1.0
TROUBLE_SECONDS = 1.0


class Relay:
    """Publishes what is due, on each wake-up and at least every half second."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        self._database_url = database_url
        self._broker = redis.Redis.from_url(
            broker_url, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS
        )
        self._fingerprints = {vendor: adapter(vendor).fingerprint() for vendor in policies()}
        self._paces = {
            vendor: math.ceil(PACED_SECONDS * policy.rate_per_second)
            for vendor, policy in policies().items()
            if policy.rate_per_second > 0
        }
        self._parts = {
            vendor: policy.batch_in_flight
            for vendor, policy in policies().items()
            if policy.batch_in_flight > 0
        }
        self._lanes = _lanes()
        self._kept_back = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ferryman-relay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._broker.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            health.mark("relay")
            try:
                with ledger.connect(self._database_url) as connection:
                    self._serve(connection)
            except Exception as error:
                # Whatever it is, jobs must go on being published. The text of such an error may
                # hold an address: its class is enough.
                log.warning("relay.trouble", error=type(error).__name__)
                self._stopping.wait(TROUBLE_SECONDS)

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopping.is_set():
            health.mark("relay")
            if self.tick(connection):
                time.sleep(BREATH_SECONDS)
            else:
                seconds = BREATH_SECONDS if self._kept_back else TICK_SECONDS
                for _ in connection.notifies(timeout=seconds, stop_after=1):
                    pass

    def tick(self, connection: psycopg.Connection[Any]) -> int:
        """One round; the number of jobs and messages that were moved."""
        self._kept_back = False
        with connection.transaction():
            if not ledger.lock(connection):
                return 0
            received = door.receive(connection, self._broker)
            states = ledger.states(connection)
            rooms = self._rooms(connection, states)
            self._gather(connection, rooms, states)
            due = ledger.publish(connection, rooms)
        self._push(due)
        door.forget(self._broker, received)
        return len(due) + len(received)

    def _rooms(self, connection: psycopg.Connection[Any], states: dict[str, State]) -> list[Room]:
        pipeline = self._broker.pipeline(transaction=False)
        for vendor in self._fingerprints:
            pipeline.llen(f"ferryman.{vendor}")
        lengths = dict(zip(self._fingerprints, pipeline.execute(), strict=True))
        known = {vendor: states.get(vendor, State(vendor)) for vendor in self._fingerprints}
        paced = [vendor for vendor, state in known.items() if self._pace(state) is not None]
        under_way = ledger.published(connection, paced)
        parts = ledger.parts(connection, list(self._parts))
        rooms = (
            self._room(known[vendor], length, under_way.get(vendor, 0), parts.get(vendor, 0))
            for vendor, length in lengths.items()
        )
        return [room for room in rooms if room.room > 0 or room.again > 0]

    def _room(self, state: State, length: int, under_way: int, parts: int) -> Room:
        free = self._free(state, length)
        pace = self._pace(state)
        room = free if pace is None else min(free, pace - under_way)
        return Room(
            state.vendor, max(0, room), self._of_batches(state, parts), max(0, free), length == 0
        )

    def _gather(
        self, connection: psycopg.Connection[Any], rooms: Iterable[Room], states: dict[str, State]
    ) -> None:
        """Loads for the vendors that may be called. They are jobs as all others from here on: so
        what paces those paces these. Of a vendor that was away one load is the probe."""
        open_to = {room.vendor for room in rooms if room.room > 0}
        well = {
            vendor for vendor in open_to if states.get(vendor, State(vendor)).breaker == "closed"
        }
        lanes = [
            lane if lane.vendor in well else replace(lane, most=1)
            for lane in self._lanes
            if lane.vendor in open_to
        ]
        self._kept_back |= gather(connection, lanes)

    def _of_batches(self, state: State, under_way: int) -> int | None:
        """Room for jobs of batches. Where there is none, some are gone sooner than the next tick
        would come by itself."""
        if (most := self._parts.get(state.vendor)) is None:
            return None
        self._kept_back |= under_way >= most
        return max(0, most - under_way)

    def _pace(self, state: State) -> int | None:
        """How many messages may be under way to a vendor that is not to be given all at once: a
        job that finds no token, or the breaker open again, is parked, which is a write."""
        if state.draining:
            return min(self._paces.get(state.vendor, DRAINED), DRAINED)
        return self._paces.get(state.vendor)

    def _free(self, state: State, length: int) -> int:
        if state.pauses(self._fingerprints[state.vendor]) or state.cool_for > 0:
            return 0
        if state.breaker == "closed":
            return settings().relay_window - length
        # Not closed: one job at a time, the probe, and only when it is due.
        return 1 - length if state.probe_in <= 0 and state.probing_for <= 0 else 0

    def _push(self, due: Iterable[Due]) -> None:
        """After the commit, so that no worker looks for a row it cannot see yet. What is lost in
        between is published again."""
        messages: dict[str, list[bytes]] = {}
        for job in due:
            queue = f"ferryman.{job.vendor}"
            messages.setdefault(queue, []).append(envelope(job.id, job.kind, queue))
        pipeline = self._broker.pipeline(transaction=False)
        for queue, of_one_vendor in messages.items():
            pipeline.lpush(queue, *of_one_vendor)
        pipeline.execute()


def _lanes() -> list[Lane]:
    return [
        Lane(
            vendor,
            kind,
            policy.batch_size,
            1 if kind in IN_ORDER else policy.loads_in_flight,
            policy.linger_seconds,
        )
        for vendor, policy in policies().items()
        for kind in policy.kinds
        if kind in RIDING
    ]


class RelayStep(bootsteps.StartStopStep):
    """Starts the relay with the worker, and stops it first."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._relay: Relay | None = None

    def start(self, worker: Any) -> None:
        direct = settings().database_direct_url
        self._relay = Relay(
            direct or settings().resolve_database_url(), settings().resolve_broker_url()
        )
        self._relay.start()

    def stop(self, worker: Any) -> None:
        if self._relay is not None:
            self._relay.stop()
            self._relay = None

    close = stop
    terminate = stop
