"""What the benchmark's S3 keeps of each object, and the pages of its listings."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

PAGE_KEYS = 1000
LAST = "\U0010ffff"


@dataclass(frozen=True)
class Stored:
    size: int
    etag: str
    metadata: Mapping[str, str]
    at: datetime


@dataclass
class Upload:
    key: str
    metadata: Mapping[str, str]
    parts: dict[int, tuple[int, bytes]] = field(default_factory=dict)


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self._sorted: list[str] = []

    def put(self, key: str, stored: Stored) -> None:
        if key not in self.objects:
            self._sorted = []
        self.objects[key] = stored

    def remove(self, key: str) -> None:
        if self.objects.pop(key, None):
            self._sorted = []

    def page(self, prefix: str, after: str, delimiter: str) -> tuple[list[str], bool]:
        """Keys, and beginnings of keys up to the delimiter; whether there are more."""
        if not self._sorted:
            self._sorted = sorted(self.objects, key=str.encode)
        found: list[str] = []
        start = max(prefix, after)
        while len(found) <= PAGE_KEYS:
            place = bisect.bisect_left(self._sorted, start.encode(), key=str.encode)
            if place == len(self._sorted) or not (key := self._sorted[place]).startswith(prefix):
                break
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + 1]
            # Behind it, or behind all that begins with it.
            start = f"{name}\0" if end < 0 else f"{name}{LAST}"
            if name != after:
                found.append(name)
        return found[:PAGE_KEYS], len(found) > PAGE_KEYS
