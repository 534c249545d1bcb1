"""Which queues does this process read now? Those of vendors for which it has room: a message that
it could not run soon stays in the broker, in its order and for any other process."""

from __future__ import annotations

from collections.abc import Callable

from kombu.utils.scheduling import round_robin_cycle

QUEUE_PREFIX = "ferryman."
# A read of the open queues ends so soon while another one is closed, which may open again.
CLOSED_SECONDS = 0.02


def _always(_: str) -> bool:
    return True


class Intake:
    """The one gate of this process; the pool decides behind it."""

    def __init__(self) -> None:
        self.is_open: Callable[[str], bool] = _always

    def reads(self, queue: str) -> bool:
        return self.is_open(queue.removeprefix(QUEUE_PREFIX))


intake = Intake()


class OpenQueues(round_robin_cycle):
    """kombu's order of queues (`queue_order_strategy`), without the closed ones."""

    def consume(self, n: int) -> list[str]:
        return [queue for queue in self.items[:n] if intake.reads(queue)]

    def all_open(self) -> bool:
        return all(map(intake.reads, self.items))
