"""What is to be done with each key of a sync: decided as both ends are listed, in segments of
bounded size, each of them cut into the parts that do it. What needs more than the listings tell is
left to a part."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from uuid_utils.compat import uuid7

from adapters._storage import PART_BYTES, SHA256
from models.sync_plan import PartPlan, Plan, Planned, Segment
from tasks import _keys
from tasks._ends import Entry
from tasks._filters import Filter
from tasks._pairs import Listable, pairs
from tasks._sameness import same

# Keys in a segment, and seconds until it is written however few they are. The first is short, so
# that the first objects are on their way while the rest is listed.
FIRST_KEYS = 500
MOST_KEYS = 5_000
MOST_SECONDS = 2.0

BEYOND_NO_KEY = "\x01"

Store = Callable[[Segment], Awaitable[Plan]]
"""Writes a segment, and tells how far the plan has come by that."""


@dataclass(frozen=True)
class Rules:
    """What a sync was asked for.

    `name`, `bucket`: how the ledger names a key. `size`, `most_bytes`: of a part. `compare`: None,
    `checksum` or `size`. `folder`: the target is one, whose file system may take different keys
    for the same name: no copy begins before all of them are known.
    """

    filter: Filter
    name: Callable[[str], str]
    bucket: str | None
    size: int
    most_bytes: int
    delete: bool = False
    compare: str | None = None
    dry_run: bool = False
    folder: bool = False


@dataclass
class _Open:
    """A part that takes more objects."""

    part: int
    count: int = 0
    bytes: int = 0


class Planner:
    """Decides about one key after the other, in key order, and gives out segments."""

    def __init__(self, rules: Rules, so_far: Plan) -> None:
        self.cursor = so_far.cursor
        """The last key that was decided about."""
        self._rules = rules
        self._numbers = so_far.parts
        self._most = MOST_KEYS if so_far.cursor else FIRST_KEYS
        self._begin()

    @property
    def full(self) -> bool:
        late = time.monotonic() - self._since >= MOST_SECONDS
        return self._keys >= self._most or (late and self._keys > 0)

    @property
    def empty(self) -> bool:
        return self._keys == 0

    def add(self, source: Entry | None, target: Entry | None) -> None:
        """What the ends have under the next key."""
        entry = source or target
        assert entry is not None
        # An object that is named as its prefix has no name below it, and is the first of all.
        self.cursor = entry.key or BEYOND_NO_KEY
        self._keys += 1
        if not self._taken(entry):
            return
        self._targets += target is not None
        if source is not None:
            self._decide(source, target)
        elif target is not None and self._rules.delete:
            self._surplus += 1
            self._remove(target)

    def segment(self) -> Segment:
        """All since the last one."""
        made = Segment(
            after=self._after,
            last=self.cursor,
            rows=self._rows,
            parts=self._parts,
            targets=self._targets,
            surplus=self._surplus,
        )
        self._most = MOST_KEYS
        self._begin()
        return made

    def _begin(self) -> None:
        self._after = self.cursor
        self._since = time.monotonic()
        self._rows: list[Planned] = []
        self._parts: list[PartPlan] = []
        self._open: dict[str, _Open] = {}
        self._keys = self._targets = self._surplus = 0

    def _taken(self, entry: Entry) -> bool:
        if entry.problem is not None and entry.key.endswith("/"):
            return self._rules.filter.takes_below(entry.key)
        return self._rules.filter.takes(entry.key)

    def _decide(self, source: Entry, target: Entry | None) -> None:
        if reason := self._refusal(source, target):
            self._refuse(source, reason)
        elif target is None or target.size != source.size:
            self._copy(source, target, "copy")
        elif self._same(source, target):
            self._keep(source, target)
        else:
            self._copy(source, target, "compare")

    def _same(self, source: Entry, target: Entry) -> bool:
        compare = self._rules.compare
        return compare == "size" or same(source, target, strict=compare == "checksum")

    def _refusal(self, entry: Entry, target: Entry | None = None) -> str | None:
        problem = entry.problem or (target.problem if target else None)
        return problem or _keys.refusal(self._rules.name(entry.key))

    def _refuse(self, entry: Entry, reason: str) -> None:
        self._row(entry, action="refuse", outcome="refused", reason=reason)

    def _keep(self, source: Entry, target: Entry) -> None:
        told = target.told
        known = {"etag": target.etag, "checksum": told.get("sha256") or told.get(SHA256)}
        self._row(source, action="keep", outcome="done", fold=self._fold(source), **known)

    def _copy(self, source: Entry, target: Entry | None, action: str) -> None:
        # A dry run looks only into what the listings do not tell.
        looks = action == "compare" or not self._rules.dry_run
        self._row(
            source,
            action=action,
            outcome="planned",
            part=self._part("copy", source.size) if looks else None,
            path=source.path,
            source_etag=source.etag,
            source_version=source.version,
            digests=source.told or None,
            fold=self._fold(source),
            **_seen(target),
        )

    def _remove(self, target: Entry) -> None:
        if reason := self._refusal(target):
            self._refuse(target, reason)
            return
        part = None if self._rules.dry_run else self._part("delete", 0)
        self._row(target, action="delete", outcome="planned", part=part, **_seen(target))

    def _row(self, entry: Entry, **known: Any) -> None:
        self._rows.append(
            Planned(
                key=_keys.shown(self._rules.name(entry.key)),
                bucket=self._rules.bucket,
                size=entry.size,
                last_modified=entry.last_modified,
                **known,
            )
        )

    def _fold(self, entry: Entry) -> int | None:
        return _keys.fold(entry.key) if self._rules.folder else None

    def _part(self, action: str, size: int) -> int:
        """The number of the part for an object of that size; a large one has one of its own."""
        if size > PART_BYTES:
            return self._new(action)
        rules, into = self._rules, self._open.get(action)
        if into is None or into.count == rules.size or into.bytes + size > rules.most_bytes:
            into = self._open[action] = _Open(self._new(action))
        into.count += 1
        into.bytes += size
        return into.part

    def _new(self, action: str) -> int:
        self._numbers += 1
        held = action == "delete" or self._rules.folder
        self._parts.append(PartPlan(uuid7(), self._numbers, action, held))
        return self._numbers


def _seen(target: Entry | None) -> dict[str, Any]:
    """What must still stand at the target when its turn comes."""
    if target is None:
        return {}
    return {
        "target_etag": target.etag,
        "target_version": target.version,
        "target_digests": target.told or None,
    }


async def plan(
    source: Listable, target: Listable, rules: Rules, so_far: Plan, store: Store
) -> Plan:
    """List both ends from where the plan has come to, until their end or until it is to stop. Holds
    no more than a segment and a few pages. Raises what a listing does; what is stored stays, and
    the next run goes on behind it."""
    planner = Planner(rules, so_far)
    async with aclosing(pairs(source, target, so_far.cursor)) as found:
        async for pair in found:
            planner.add(*pair)
            if planner.full:
                so_far = await store(planner.segment())
                if so_far.stopping:
                    return so_far
    return so_far if planner.empty else await store(planner.segment())
