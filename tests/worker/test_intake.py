"""Which queues are read: not those of vendors for which there is no room."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from kombu import Connection, Consumer, Queue

from worker.intake import OpenQueues, intake
from worker.transport import Transport

VENDORS = ("slow", "quick")


class Reader:
    """A consumer of two vendors' queues, as Celery's is."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.seen: list[str] = []
        self.queues = [Queue(f"ferryman.{v}", routing_key=f"ferryman.{v}") for v in VENDORS]

    def read(self, seconds: float) -> list[str]:
        """What comes within that time; returns with the first message."""
        end, before = time.monotonic() + seconds, len(self.seen)
        while time.monotonic() < end and len(self.seen) == before:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0.05)
        return self.seen[before:]

    def take(self, body: str, message: object) -> None:
        message.ack()  # type: ignore[attr-defined]
        self.seen.append(body)


@pytest.fixture
def open_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda vendors: monkeypatch.setattr(intake, "is_open", vendors.split().__contains__)


def test_a_closed_queue_keeps_its_messages_and_is_read_soon_after_it_opens(
    broker_url: str, open_to: Callable[[str], None]
) -> None:
    options = {"queue_order_strategy": "worker.intake:OpenQueues", "priority_steps": [0]}
    with Connection(broker_url, transport=Transport, transport_options=options) as connection:
        reader = Reader(connection)
        with Consumer(connection, reader.queues, callbacks=[reader.take]):
            producer = connection.Producer()
            for vendor in VENDORS:
                producer.publish(vendor, routing_key=f"ferryman.{vendor}")
            open_to("quick")
            assert reader.read(5) == ["quick"]
            assert reader.read(0.3) == []

            open_to("quick slow")
            assert reader.read(0.5) == ["slow"]


def test_the_order_of_the_open_ones_stays(open_to: Callable[[str], None]) -> None:
    queues = OpenQueues([f"ferryman.{name}" for name in ("a", "b", "c")])
    open_to("a c")

    assert queues.consume(3) == ["ferryman.a", "ferryman.c"]
    assert not queues.all_open()
    queues.rotate("ferryman.a")
    assert queues.consume(3) == ["ferryman.c", "ferryman.a"]
