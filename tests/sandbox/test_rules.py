"""Fault rules: what they match, when they fire, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.faults import BadRule, Faults
from sandbox.vendor import Request


def request(**changes: Any) -> Request:
    usual = {
        "vendor": "stripe",
        "method": "POST",
        "path": "/v1/refunds",
        "query": "",
        "headers": {},
        "body": b"amount=1",
    }
    return Request(**{**usual, **changes})


def firing(when: Any, count: int = 10, seed: int = 1, **rule: Any) -> list[int]:
    """The numbers of the requests that a rule fires for."""
    faults = Faults(seed)
    faults.install([{"do": "drop_after", "when": when, **rule}])
    return [n for n in range(1, count + 1) if faults.plan(request()).rule]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("always", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"nth": [3, 7]}, [3, 7]),
        ({"first": 2}, [1, 2]),
        ({"every": 4}, [4, 8]),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_when(when: Any, expected: list[int]) -> None:
    assert firing(when) == expected


def test_chance_comes_from_the_seed() -> None:
    once = firing({"probability": 0.3}, 200)

    assert firing({"probability": 0.3}, 200) == once
    assert firing({"probability": 0.3}, 200, seed=2) != once
    assert 30 < len(once) < 90


def test_times_is_the_most_that_it_fires() -> None:
    assert firing({"every": 2}, times=2) == [2, 4]


def test_for_seconds_is_how_long_it_lives() -> None:
    assert firing("always", 2, for_seconds=60) == [1, 2]
    assert firing("always", 2, for_seconds=0) == []


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"vendor": "stripe"}, True),
        ({"vendor": "sendgrid"}, False),
        ({"method": "post"}, True),
        ({"method": "GET"}, False),
        ({"path": "/v1/refunds"}, True),
        ({"path": "/v1/ref*"}, True),
        ({"path": "/v1"}, False),
        ({"contains": "amount=1"}, True),
        ({"contains": "amount=2"}, False),
    ],
)
def test_whom_a_rule_concerns(rule: dict[str, str], matches: bool) -> None:
    faults = Faults(1)
    faults.install([{"do": "silent_after", **rule}])

    assert (faults.plan(request()).rule is not None) is matches
    assert faults.describe()[0]["matched"] == int(matches)


def test_latencies_add_up_and_the_first_other_fault_happens() -> None:
    faults = Faults(1)
    faults.install([{"do": "latency", "seconds": 0.5}, {"do": "drop_after"}])
    faults.install([{"do": "latency", "seconds": 1}, {"do": "garble"}], append=True)

    plan = faults.plan(request())

    assert (plan.latency, plan.name) == (1.5, "drop_after")
    assert [rule["fired"] for rule in faults.describe()] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"do": "explode"}, "do"),
        ({}, "do"),
        ({"do": "drop_after", "colour": "red"}, "colour"),
        ({"do": "drop_after", "seconds": 1}, "seconds"),
        ({"do": "latency"}, "seconds"),
        ({"do": "latency", "seconds": "1"}, "seconds"),
        ({"do": "latency", "seconds": True}, "seconds"),
        ({"do": "status"}, "status"),
        ({"do": "drop_after", "times": 1.5}, "times"),
        ({"do": "late", "seconds": -1}, "seconds"),
        ({"do": "huge_body", "bytes": -1}, "bytes"),
        ({"do": "garble", "as": "poetry"}, "as"),
        ({"do": "drop_after", "when": "sometimes"}, "when"),
        ({"do": "drop_after", "when": {"nth": 3}}, "when"),
        ({"do": "drop_after", "when": {"every": 0}}, "when"),
        ({"do": "drop_after", "when": {"probability": 2}}, "when"),
        ("drop_after", "a rule is an object"),
    ],
)
def test_a_rule_that_cannot_be_understood(rule: Any, field: str) -> None:
    faults = Faults(1)
    faults.install([{"do": "drop_before"}])

    with pytest.raises(BadRule, match=f"rule 2: {field}"):
        faults.install([{"do": "silent_before"}, rule])

    assert [one["do"] for one in faults.describe()] == ["drop_before"]
