"""`sync_suppressions`: take over whom the vendor itself sends nothing to."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request


class SyncSuppressions(Request):
    """Read the vendor's own lists of suppressed addresses. Made by ferryman itself, on a schedule
    or when `ferryman suppressions sync` asks."""

    kind: ClassVar[str] = "sync_suppressions"
    internal: ClassVar[bool] = True
