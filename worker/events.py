"""Task events go out ten times a second, from Celery's own thread.

Celery publishes with each round of its hub, so once a message; and when its buffer is full, from
whichever thread sends: here that would block the event loop on a socket.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps

EVERY_SECONDS = 0.1
NO_LIMIT = 1_000_000


class EventsStep(bootsteps.StartStopStep):
    """Takes over the flushing of the dispatcher that Celery has just made."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        dispatcher = consumer.event_dispatcher
        dispatcher.buffer_limit = NO_LIMIT
        dispatcher.on_send_buffered = None
        self._timer = consumer.hub.call_repeatedly(EVERY_SECONDS, dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
