"""What took effect at the vendors? One entry an effect, which tests count."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.store import Journal


class EffectLog:
    """Every effect in order, kept as JSON: a million mails are as many entries."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._entries: list[bytes] = []
        self._tags: list[tuple[str, str]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        for row in journal.take("effects").values():
            self._keep(row["vendor"], row["kind"], orjson.dumps(row))

    def record(self, vendor: str, kind: str, reference: str, **facts: Any) -> None:
        """Adds an effect. `reference` is the id that the caller was told; `facts` say the rest."""
        seq = len(self._entries) + 1
        head: dict[str, Any] = {"seq": seq, "vendor": vendor, "kind": kind, "reference": reference}
        head["job"] = _job(facts)
        entry = orjson.dumps(head | facts | {"at": round(time.time(), 3)})
        self._keep(vendor, kind, entry)
        self._journal.append("effects", str(seq), entry)

    def _keep(self, vendor: str, kind: str, entry: bytes) -> None:
        self._entries.append(entry)
        self._tags.append((vendor, kind))
        self.counts[vendor, kind] += 1

    def document(
        self, vendor: str | None, kind: str | None, after: int = 0, limit: int | None = None
    ) -> bytes:
        """The entries with a `seq` above `after`, as a JSON document `{"effects": […]}`."""
        chosen = [
            entry
            for entry, (its_vendor, its_kind) in zip(
                self._entries[after:], self._tags[after:], strict=True
            )
            if vendor in (None, its_vendor) and kind in (None, its_kind)
        ]
        return b'{"effects":[%b]}' % b",".join(chosen[:limit])

    def totals(self) -> dict[str, dict[str, int]]:
        """How many effects of each kind each vendor has."""
        totals: dict[str, dict[str, int]] = {}
        for (vendor, kind), count in self.counts.items():
            totals.setdefault(vendor, {})[kind] = count
        return totals


def _job(facts: Mapping[str, Any]) -> str | None:
    """The job that the caller named as the cause, where this vendor has a place for it."""
    for place in ("metadata", "custom_args"):
        if name := (facts.get(place) or {}).get("job"):
            return str(name)
    return None
