"""How many requests a second does a vendor take, and how many did it see?"""

import math
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """One vendor's requests of the last second. Refused ones count as seen, not as taken."""

    per_second: int | None = None
    requests: int = 0
    throttled: int = 0
    peak_per_second: int = 0
    _seen: deque[float] = field(default_factory=deque)
    _taken: deque[float] = field(default_factory=deque)

    def arrive(self, now: float) -> float | None:
        """Counts a request; the seconds to wait where it is one too many, else None."""
        self.requests += 1
        self._seen.append(now)
        _forget(self._seen, now)
        self.peak_per_second = max(self.peak_per_second, len(self._seen))
        if self.per_second is None:
            return None
        _forget(self._taken, now)
        if len(self._taken) < self.per_second:
            self._taken.append(now)
            return None
        self.throttled += 1
        return 1 - (now - self._taken[0]) if self._taken else 1.0

    def remaining(self) -> int | None:
        return None if self.per_second is None else max(0, self.per_second - len(self._taken))


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] <= now - 1:
        times.popleft()


class Limits:
    """A sliding second per vendor; no limit until one is set."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def of(self, vendor: str) -> Window:
        return self._windows.setdefault(vendor, Window())

    def arrive(self, vendor: str) -> str | None:
        """Counts a request; where it is one too many, a Retry-After of whole seconds."""
        wait = self.of(vendor).arrive(time.monotonic())
        return None if wait is None else str(max(1, math.ceil(wait)))

    def summary(self) -> dict[str, dict[str, int | None]]:
        return {
            vendor: {
                "requests": window.requests,
                "throttled": window.throttled,
                "peak_per_second": window.peak_per_second,
                "per_second": window.per_second,
            }
            for vendor, window in self._windows.items()
        }
