"""What took effect at the vendors? One entry an effect, which tests count."""

import time
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from sandbox.store import Journal

CAUSES = (("metadata", "job"), ("custom_args", "ferryman_job"))
"""Where a vendor has a place for the job that a caller names as the cause."""
NOBODY = 0


@dataclass(slots=True, frozen=True, eq=False)
class Run:
    """Effects in a row, of one request. `shared` is JSON: of a single effect the whole entry, of
    several what they have in common. `each` is packed JSON: a list of what each has alone.

    In that form a million mails, with all that is different in them, take tens of megabytes."""

    first: int
    count: int
    vendor: str
    kind: str
    shared: bytes
    each: bytes = b""

    def entries(self) -> list[dict[str, Any]]:
        """The effects as the log shows them."""
        shared = orjson.loads(self.shared)
        if not self.each:
            return [shared]
        head, facts = shared["head"], shared["facts"]
        owns = orjson.loads(zlib.decompress(self.each))
        return [_entry(seq, head, _merged(facts, own)) for seq, own in enumerate(owns, self.first)]

    def encoded(self) -> list[bytes]:
        return [orjson.dumps(entry) for entry in self.entries()] if self.each else [self.shared]


class EffectLog:
    """Every effect in order, from `seq` 1."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: list[Run] = []
        # A number for the address of each effect, by its place: eight bytes in place of a text.
        self._addresses = array("q")
        self.counts: Counter[tuple[str, str]] = Counter()
        for row in journal.take_encoded("effects"):
            self._restore(row)

    def _restore(self, encoded: bytes) -> None:
        row = orjson.loads(encoded)
        if "each" not in row:
            self._keep(Run(row["seq"], 1, row["vendor"], row["kind"], encoded), [row])
            return
        self._keep_many(row["head"], orjson.dumps(row["each"]), row["facts"], row["each"])

    def record(self, vendor: str, kind: str, reference: str, **facts: Any) -> Run:
        """Adds an effect. `reference` is the id that the caller was told; `facts` say the rest."""
        head = self._head(vendor, kind, reference)
        entry = orjson.dumps(_entry(head["seq"], head, facts))
        self._journal.append("effects", str(head["seq"]), entry)
        return self._keep(Run(head["seq"], 1, vendor, kind, entry), [facts])

    def record_many(
        self,
        vendor: str,
        kind: str,
        reference: str,
        facts: Mapping[str, Any],
        each: Sequence[Mapping[str, Any]],
    ) -> Run:
        """Adds the effects of one request, one for each of `each`: what it has alone, over the
        `facts` of all. Where both have an object under a name, they are merged. Each may have a
        `reference` and a `job` of its own."""
        if len(each) == 1:
            alone = _merged(facts, each[0])
            return self.record(vendor, kind, alone.pop("reference", reference), **alone)
        head = self._head(vendor, kind, reference)
        owns = orjson.dumps(each)
        row = b'{"head":%b,"facts":%b,"each":%b}' % (orjson.dumps(head), orjson.dumps(facts), owns)
        self._journal.append("effects", str(head["seq"]), row)
        return self._keep_many(head, owns, facts, each)

    def _head(self, vendor: str, kind: str, reference: str) -> dict[str, Any]:
        return {
            "seq": len(self._addresses) + 1,
            "vendor": vendor,
            "kind": kind,
            "reference": reference,
            "at": round(time.time(), 3),
        }

    def _keep_many(
        self,
        head: dict[str, Any],
        owns: bytes,
        facts: Mapping[str, Any],
        each: Sequence[Mapping[str, Any]],
    ) -> Run:
        shared = orjson.dumps({"head": head, "facts": facts})
        packed = zlib.compress(owns, 1)
        run = Run(head["seq"], len(each), head["vendor"], head["kind"], shared, packed)
        return self._keep(run, each)

    def _keep(self, run: Run, each: Sequence[Mapping[str, Any]]) -> Run:
        self._runs.append(run)
        self._addresses.extend([_number(facts.get("to")) for facts in each])
        self.counts[run.vendor, run.kind] += run.count
        return run

    def _chosen(self, vendor: str | None, kind: str | None, after: int) -> Iterator[Run]:
        """The runs with an effect whose `seq` is above `after`."""
        begin = max(0, bisect_right(self._runs, after, key=_first) - 1)
        for run in self._runs[begin:]:
            if (
                run.first + run.count > after + 1
                and vendor in (None, run.vendor)
                and kind in (None, run.kind)
            ):
                yield run

    def document(
        self, vendor: str | None, kind: str | None, after: int = 0, limit: int | None = None
    ) -> bytes:
        """The entries with a `seq` above `after`, as a JSON document `{"effects": […]}`."""
        chosen: list[bytes] = []
        for run in self._chosen(vendor, kind, after):
            if limit is not None and len(chosen) >= limit:
                break
            chosen += run.encoded()[max(0, after + 1 - run.first) :]
        return b'{"effects":[%b]}' % b",".join(chosen[:limit])

    def tally(self, vendor: str | None, kind: str | None, after: int = 0) -> dict[str, int]:
        """How many `effects` there are above `after`, how many `addresses` they went to, and how
        many of these got more than one (`repeated`)."""
        numbers = array("q")
        for run in self._chosen(vendor, kind, after):
            begin = max(run.first, after + 1) - 1
            numbers += self._addresses[begin : run.first - 1 + run.count]
        known = sorted(number for number in numbers if number != NOBODY)
        again = [one for one, other in pairwise(known) if one == other]
        return {
            "effects": len(numbers),
            "addresses": len(known) - len(again),
            "repeated": len(set(again)),
        }

    def latest(self, vendor: str, address: str) -> dict[str, Any] | None:
        """The last effect at this vendor that went to the address."""
        wanted = _number(address)
        for place in range(len(self._addresses) - 1, -1, -1):
            if self._addresses[place] == wanted:
                run = self._runs[bisect_right(self._runs, place + 1, key=_first) - 1]
                if run.vendor == vendor:
                    return run.entries()[place + 1 - run.first]
        return None

    def totals(self) -> dict[str, dict[str, int]]:
        """How many effects of each kind each vendor has."""
        totals: dict[str, dict[str, int]] = {}
        for (vendor, kind), count in self.counts.items():
            totals.setdefault(vendor, {})[kind] = count
        return totals


def _first(run: Run) -> int:
    return run.first


def _number(address: object) -> int:
    """Two of a million addresses would share theirs in one of thirty million cases."""
    return hash(address.lower()) if isinstance(address, str) else NOBODY


def _entry(seq: int, head: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seq": seq,
        "vendor": head["vendor"],
        "kind": head["kind"],
        "reference": head["reference"],
        "job": _job(facts),
        **facts,
        "at": head["at"],
    }


def _merged(facts: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**facts, **own}
    for name in own:
        if isinstance(own[name], dict) and isinstance(facts.get(name), dict):
            merged[name] = {**facts[name], **own[name]}
    return merged


def _job(facts: Mapping[str, Any]) -> str | None:
    """The job that the caller named as the cause, where this vendor has a place for it."""
    for place, name in CAUSES:
        if job := (facts.get(place) or {}).get(name):
            return str(job)
    return None
