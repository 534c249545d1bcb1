"""Celery's Redis transport, mended in two places.

kombu makes a new `redis.Redis` for each acknowledgement and each publish, over the same pool:
a fifth of the consumer's CPU. And when the broker restarts under a busy worker, Celery 5.7 ends
with an AttributeError: it acknowledges messages, and puts others back, through a connection that
is gone.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps its client for as long as its pool lives, and closes without a connection too."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

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
