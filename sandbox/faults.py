"""Which request goes wrong, and how? Rules in order, each counting the requests it matches.

A rule is a JSON object: who (`vendor`, `path`, `method`, `contains`), when (`when`, `times`,
`for_seconds`) and what (`do` with its options). `python -m sandbox --help` shows them all.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from random import Random
from typing import Any

from sandbox import garble
from sandbox.vendor import Request

Options = dict[str, tuple[type, ...]]

SECONDS: tuple[type, ...] = (int, float)
RETRY_AFTER: Options = {"retry_after": (*SECONDS, type(None)), "as_date": (bool,)}
BEFORE: dict[str, Options] = {
    "status": RETRY_AFTER | {"status": (int,), "headers": (dict,), "body": (str, dict, list)},
    "throttle": RETRY_AFTER,
    "drop_before": {"reset": (bool,)},
    "silent_before": {},
}
"""Faults that the vendor never hears of: nothing takes effect."""
INSTEAD: dict[str, Options] = {"error_before": {"status": (int,)}}
"""The vendor takes the request up and fails at it: nothing takes effect, and it remembers that."""
AFTER: dict[str, Options] = {
    "drop_after": {"reset": (bool,)},
    "silent_after": {},
    "error_after": {"status": (int,)},
    "late": {"seconds": SECONDS},
    "garble": {"as": (str,), "body": (str,)},
    "slow_body": {"seconds": SECONDS},
    "endless_body": {"seconds": SECONDS, "bytes": (int,)},
    "huge_body": {"bytes": (int,)},
    "truncate": {"bytes": (int,)},
}
"""Faults after the vendor has acted: the effect stands."""
LATENCY: dict[str, Options] = {"latency": {"seconds": SECONDS}}
ACTIONS: dict[str, Options] = BEFORE | INSTEAD | AFTER | LATENCY
REQUIRED = {"status": "status", "late": "seconds", "latency": "seconds"}
COMMON: Options = {
    "vendor": (str,),
    "path": (str,),
    "method": (str,),
    "contains": (str,),
    "when": (str, dict),
    "times": (int,),
    "for_seconds": SECONDS,
    "do": (str,),
}


class BadRule(ValueError):
    """A rule that cannot be understood. Nothing of its script was installed."""


@dataclass(slots=True)
class Rule:
    """One rule and what it has done so far: requests `matched`, faults `fired`."""

    spec: dict[str, Any]
    due: Callable[[int], bool]
    until: float | None
    path: re.Pattern[str]
    matched: int = 0
    fired: int = 0
    do: str = field(init=False)

    def __post_init__(self) -> None:
        self.do = self.spec["do"]

    def option(self, name: str, default: Any) -> Any:
        return self.spec.get(name, default)

    def concerns(self, request: Request) -> bool:
        spec = self.spec
        return (
            spec.get("vendor") in (None, request.vendor)
            and spec.get("method", request.method).upper() == request.method
            and self.path.match(request.path) is not None
            and spec.get("contains", "").encode() in request.body
        )

    def fires(self, request: Request) -> bool:
        """Counts the request, and says whether this is one of those that go wrong."""
        if (self.until is not None and time.monotonic() >= self.until) or not self.concerns(
            request
        ):
            return False
        self.matched += 1
        return self.fired < self.spec.get("times", self.fired + 1) and self.due(self.matched)


@dataclass(slots=True, frozen=True)
class Plan:
    """What is to happen to one request: seconds of latency, and at most one fault."""

    latency: float = 0.0
    rule: Rule | None = None

    @property
    def name(self) -> str | None:
        return self.rule.do if self.rule else None


class Faults:
    """The fault script. The latencies of all rules that fire add up; of other faults the first
    rule's happens."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.rules: list[Rule] = []

    def install(self, specs: Sequence[Any], *, append: bool = False) -> None:
        """Takes a script in place of the one before, or adds to it. Raises BadRule."""
        kept = self.rules if append else []
        new = [self._rule(number, spec) for number, spec in enumerate(specs, len(kept) + 1)]
        self.rules = kept + new

    def _rule(self, number: int, spec: Any) -> Rule:
        try:
            check(spec)
            due = _due(spec.get("when", "always"), f"{self._seed}:{number}")
        except BadRule as error:
            raise BadRule(f"rule {number}: {error}") from None
        seconds = spec.get("for_seconds")
        until = None if seconds is None else time.monotonic() + seconds
        return Rule(dict(spec), due, until, re.compile(translate(spec.get("path", "*"))))

    def plan(self, request: Request) -> Plan:
        latency = 0.0
        chosen: Rule | None = None
        for rule in self.rules:
            if not rule.fires(request):
                continue
            if rule.do == "latency":
                latency += rule.spec["seconds"]
            elif chosen is None:
                chosen = rule
            else:
                continue
            rule.fired += 1
        return Plan(latency, chosen)

    def describe(self) -> list[dict[str, Any]]:
        return [r.spec | {"matched": r.matched, "fired": r.fired} for r in self.rules]


def check(spec: Any) -> None:
    """Raises BadRule, naming the field, for anything that is not a rule."""
    if not isinstance(spec, Mapping):
        raise BadRule("a rule is an object")
    action = spec.get("do")
    if action not in ACTIONS:
        raise BadRule(f"do: one of {', '.join(sorted(ACTIONS))}")
    known = COMMON | ACTIONS[action]
    for name, value in spec.items():
        if name not in known:
            raise BadRule(f"{name}: unknown; {action} knows {', '.join(sorted(known))}")
        if not _fits(value, known[name]):
            raise BadRule(f"{name}: {' or '.join(t.__name__ for t in known[name])} expected")
        if isinstance(value, int | float) and value < 0:
            raise BadRule(f"{name}: must not be negative")
    if (name := REQUIRED.get(action)) and name not in spec:
        raise BadRule(f"{name}: {action} needs it")
    if spec.get("as", "html") not in garble.KINDS:
        raise BadRule(f"as: one of {', '.join(garble.KINDS)}")


def _fits(value: object, types: tuple[type, ...]) -> bool:
    # True is an int to Python, but no number of seconds.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _due(when: Any, seed: str) -> Callable[[int], bool]:
    """Whether the n-th matching request (from 1) is one of those meant. Raises BadRule."""
    match when:
        case "always":
            return lambda n: True
        case {"nth": [*numbers]} if all(isinstance(number, int) for number in numbers):
            return frozenset(numbers).__contains__
        case {"first": int(count)}:
            return lambda n: n <= count
        case {"every": int(step)} if step > 0:
            return lambda n: n % step == 0
        case {"probability": float() | int() as share} if 0 <= share <= 1:
            random = Random(seed)
            return lambda n: random.random() < share
        case _:
            raise BadRule(
                'when: "always", {"nth": [3, 7]}, {"first": 2}, {"every": 10} or'
                ' {"probability": 0.1}'
            )
