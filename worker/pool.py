"""The worker's pool: one asyncio loop, and each message's whole trace in a greenlet on it.

So Celery stays Celery (signals, `autoretry_for`, events), while the task's body awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from celery.concurrency.base import BasePool, apply_target
from celery.utils.log import get_logger
from sqlalchemy.util import greenlet_spawn

from worker.intake import QUEUE_PREFIX, intake
from worker.runtime import Runtime
from worker.slots import Slots, granted

logger = get_logger(__name__)
# After the grace, a cancelled job still writes down how far it came.
LAST_WORDS_SECONDS = 5.0
# Celery publishes its events at each round of its hub: hundreds of rounds a second are many.
WAKE_SECONDS = 0.01


class LoopPool(BasePool):
    """Runs tasks with up to `limit` calls to one vendor at once; some others wait
    unacknowledged, the rest in the broker."""

    signal_safe = False
    task_join_will_block = False
    body_can_be_buffer = True

    def on_start(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False
        self._waking = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._serve, name="ferryman-loop", daemon=True)
        self._thread.start()
        self.runtime: Runtime = self._call(Runtime.start())
        self.app.runtime = self.runtime
        # The limit is one of calls: half as many jobs again are being claimed, marked or closed
        # meanwhile. A vendor alone may hold four fifths, the last is there for the others.
        walks = self.limit + self.limit // 2
        self._slots = Slots(walks + walks // 4, self.runtime.breakers.cap)
        self._watch = asyncio.run_coroutine_threadsafe(self.runtime.breakers.watch(), self._loop)
        intake.is_open = self._reads

    def register_with_event_loop(self, loop: Any) -> None:
        # Celery queues an acknowledgement for its own hub, which would sleep up to a second
        # before it looks: one byte wakes it.
        loop.add_reader(self._wake_read, self._drain_wake_ups)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> None:
        vendor = _vendor(args)
        self._slots.arrive(vendor)
        self._loop.call_soon_threadsafe(
            self._spawn, vendor, (target, args, kwargs, callback, accept_callback)
        )

    def on_close(self) -> None:
        self._closing = True

    def on_stop(self) -> None:
        """Finish what is in flight within the grace, hand the rest back, then stop."""
        self._closing = True
        self._call(self._drain())
        self._watch.cancel()
        self._call(self.runtime.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    on_terminate = on_stop

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _reads(self, vendor: str) -> bool:
        """Whether messages of this vendor are taken from the broker; any other queue's are."""
        return self._slots.has_room(vendor) and not self.runtime.breakers.is_paused(vendor)

    def _spawn(self, vendor: str, message: tuple[Any, ...]) -> None:
        task = self._loop.create_task(self._run(vendor, message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, vendor: str, message: tuple[Any, ...]) -> None:
        has_slot = await self._slots.take(vendor)
        granted.set(has_slot)
        try:
            if not self._closing:
                await greenlet_spawn(apply_target, *message)
        except Exception:
            logger.exception("a task's trace itself failed")
        finally:
            if has_slot:
                self._slots.give_back(vendor)
            self._wake_soon()

    async def _drain(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=self.runtime.settings.grace_seconds)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_WORDS_SECONDS)

    def _wake_soon(self) -> None:
        """One wake-up serves all that ended within some milliseconds."""
        if not self._waking:
            self._waking = True
            self._loop.call_later(WAKE_SECONDS, self._wake)

    def _wake(self) -> None:
        self._waking = False
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def _drain_wake_ups(self, *_: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 65_536)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "in-flight": len(self._running)}


def _vendor(args: Any) -> str:
    """Of which vendor a message is, by its queue. Celery hands over: task, id, request …"""
    queue = str((args[2].get("delivery_info") or {}).get("routing_key", ""))
    return queue.removeprefix(QUEUE_PREFIX)
