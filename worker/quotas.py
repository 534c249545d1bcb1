"""When is it written down what a vendor's headers say is left? Never once a call."""

from __future__ import annotations

import time

from adapters._limits import Quota

SCARCE = 0.1
QUOTA_SECONDS = 10.0


class QuotaNotes:
    """What this process has written of one vendor: in each window once when little is left and
    once when nothing is, and now and then that a new window has begun."""

    def __init__(self) -> None:
        self._written_at = float("-inf")
        self._ends_at = float("-inf")
        self._stage = 0

    def worth(self, quota: Quota) -> bool:
        """Whether this is to be written down; then it counts as written."""
        now = time.monotonic()
        stage = _stage(quota)
        if now >= self._ends_at:
            is_news = stage > 0 or now - self._written_at >= QUOTA_SECONDS
        else:
            is_news = stage > self._stage
        if is_news:
            self._written_at, self._stage = now, stage
            self._ends_at = now + (quota.reset_seconds or QUOTA_SECONDS)
        return is_news


def _stage(quota: Quota) -> int:
    """0: enough is left; 1: little; 2: nothing."""
    return (quota.remaining <= SCARCE * (quota.limit or 0)) + (quota.remaining == 0)
