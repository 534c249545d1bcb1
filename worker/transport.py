"""Celery's Redis transport, mended in four places.

kombu makes a new `redis.Redis` for each acknowledgement and each publish, over the same pool:
a fifth of the consumer's CPU. When the broker restarts under a busy worker, Celery 5.7 ends with
an AttributeError: it acknowledges messages, and puts others back, through a connection that is
gone. It ends as well over an item on a queue that is no message. And it reads the queue of a vendor
for which there is no room (see `intake.py`).
"""

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import redis

from worker.intake import CLOSED_SECONDS, OpenQueues

log = structlog.get_logger()


class Channel(redis.Channel):
    """Keeps its client for as long as its pool lives, and closes without a connection too."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

    def _brpop_start(self, timeout: float | None = None) -> None:
        cycle = self._queue_cycle
        if isinstance(cycle, OpenQueues) and not cycle.all_open():
            timeout = CLOSED_SECONDS
        super()._brpop_start(timeout)  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # It is off its queue, and was no message of anybody's: Celery would end over it.
            log.warning("message.refused", why=type(error).__name__)
            return True

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if not self._is_cut_off():
            super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not self._is_cut_off():
            super().basic_reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self._is_cut_off():
            # The relay publishes again what these messages stood for.
            self.do_restore = False
        super().close()  # type: ignore[no-untyped-call]

    def _is_cut_off(self) -> bool:
        return getattr(self.connection, "client", None) is None


class Transport(redis.Transport):
    Channel = Channel
