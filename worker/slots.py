"""Who may run now? The slots of one process, of which no vendor ever holds all.

A vendor may hold at most four times the slots that are free: alone 80 % of them, two slow ones
44 % each, and the next one always finds some. (The dynamic threshold by which switches share a
buffer: no numbers to be set, and whatever is free is used.)
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextvars import ContextVar

SHARE = 4
# After that its job is better told in the ledger why it waits.
PATIENCE_SECONDS = 30.0

granted: ContextVar[bool] = ContextVar("slot_granted", default=True)
"""Whether the message at hand has a slot. Without one its job is parked."""


class Slots:
    """`limit` slots; `cap` tells the most that a vendor may hold for reasons of its own.

    All of it belongs to the event loop but `arrive` and `has_room`, which the consumer's thread
    calls: each of the two threads writes a counter of its own.
    """

    def __init__(self, limit: int, cap: Callable[[str], int]) -> None:
        self._limit = limit
        self._cap = cap
        self._free = limit
        self._held: Counter[str] = Counter()
        self._turns: dict[str, deque[asyncio.Future[bool]]] = {}
        self._arrived: Counter[str] = Counter()
        self._served: Counter[str] = Counter()

    def arrive(self, vendor: str) -> None:
        """A message was taken from the broker."""
        self._arrived[vendor] += 1

    def has_room(self, vendor: str) -> bool:
        """Whether one more message of this vendor may wait here: alone half as many as there are
        slots, and never so many that another's find no place."""
        waiting = self._arrived[vendor] - self._served[vendor]
        left = self._limit - (self._arrived.total() - self._served.total())
        return waiting < min(left, self._cap(vendor))

    async def take(self, vendor: str, patience: float = PATIENCE_SECONDS) -> bool:
        """Wait for a slot, behind others of this vendor. False: there was none for so long."""
        try:
            turns = self._turns.setdefault(vendor, deque())
            if turns or not self._may(vendor):
                return await self._wait(turns, vendor, patience)
            self._hold(vendor)
            return True
        finally:
            self._served[vendor] += 1

    def give_back(self, vendor: str) -> None:
        self._held[vendor] -= 1
        self._free += 1
        while (lucky := self._next()) is not None:
            self._hold(lucky)
            self._turns[lucky].popleft().set_result(True)

    async def _wait(self, turns: deque[asyncio.Future[bool]], vendor: str, patience: float) -> bool:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        turns.append(turn)
        timer = loop.call_later(patience, self._give_up, turns, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.done() and turn.result():
                self.give_back(vendor)
            elif turn in turns:
                turns.remove(turn)
            raise
        finally:
            timer.cancel()

    @staticmethod
    def _give_up(turns: deque[asyncio.Future[bool]], turn: asyncio.Future[bool]) -> None:
        if turn in turns:
            turns.remove(turn)
            turn.set_result(False)

    def _hold(self, vendor: str) -> None:
        self._held[vendor] += 1
        self._free -= 1

    def _may(self, vendor: str) -> bool:
        most = min(SHARE * self._free, self._cap(vendor))
        return self._free > 0 and self._held[vendor] < most

    def _next(self) -> str | None:
        """Of the vendors that wait and may, the one that holds the fewest."""
        able = [vendor for vendor, turns in self._turns.items() if turns and self._may(vendor)]
        return min(able, key=self._held.__getitem__, default=None)
