"""The log of effects: entry by entry or many at once, cut at any place, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from ferryman.testing import Sandbox
from sandbox.effects import EffectLog
from sandbox.state import State
from sandbox.store import Journal
from tests.sandbox.conftest import Direct
from tests.sandbox.test_sendgrid import SEND, letter, send, to

SHARED = {"to": None, "way": "to", "custom_args": {"ferryman_job": "j-1", "x": "all"}, "data": {}}


def log(file: Path | None = None) -> EffectLog:
    return EffectLog(Journal(file))


def mails(addresses: list[str]) -> list[dict[str, Any]]:
    return [
        {"to": one, "custom_args": {"ferryman_email": f"e-{n}", "x": "own"}, "data": {"n": n}}
        for n, one in enumerate(addresses)
    ]


def filled(made: EffectLog) -> EffectLog:
    """Of seven, the first is a charge, the next five come together, the last one alone."""
    made.record("stripe", "charge", "ch_1", amount=5, metadata={"job": "j-0"})
    made.record_many(
        "sendgrid", "mail", "m-1", SHARED, mails(["a@x.de", "b@x.de", "A@x.de", "b@x.de", "b@x.de"])
    )
    made.record_many("sendgrid", "mail", "m-2", SHARED, mails(["d@x.de"]))
    return made


def seqs(made: EffectLog, *chosen: Any) -> list[int]:
    return [entry["seq"] for entry in json.loads(made.document(*chosen))["effects"]]


def test_an_effect_of_many_looks_like_one_alone() -> None:
    entries = json.loads(filled(log()).document("sendgrid", "mail"))["effects"]

    first, last = entries[0], entries[-1]
    assert list(first) == list(last)
    assert first["custom_args"] == {"ferryman_job": "j-1", "ferryman_email": "e-0", "x": "own"}
    assert (first["to"], first["way"], first["data"]) == ("a@x.de", "to", {"n": 0})
    assert [entry["job"] for entry in entries] == ["j-1"] * 6
    assert [entry["reference"] for entry in entries] == ["m-1"] * 5 + ["m-2"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ((None, None), [1, 2, 3, 4, 5, 6, 7]),
        ((None, None, 3), [4, 5, 6, 7]),
        ((None, None, 3, 2), [4, 5]),
        ((None, None, 1, 5), [2, 3, 4, 5, 6]),
        ((None, None, 6), [7]),
        ((None, None, 7), []),
        ((None, None, 0, 0), []),
        (("stripe", None), [1]),
        (("sendgrid", "mail", 0, 1), [2]),
        (("sendgrid", "charge"), []),
    ],
)
def test_any_part_of_the_log(chosen: tuple[Any, ...], expected: list[int]) -> None:
    assert seqs(filled(log()), *chosen) == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ((None, None), (7, 3, 2)),
        (("sendgrid", None), (6, 3, 2)),
        (("sendgrid", None, 2), (5, 3, 1)),
        (("sendgrid", "mail", 6), (1, 1, 0)),
        (("stripe", None), (1, 0, 0)),
        (("paypal", None), (0, 0, 0)),
    ],
)
def test_how_many_addresses_got_more_than_one(
    chosen: tuple[Any, ...], expected: tuple[int, ...]
) -> None:
    assert tuple(filled(log()).tally(*chosen).values()) == expected


def test_the_log_outlives_a_kill_as_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state.json")
    before = filled(EffectLog(journal))
    journal.flush()

    after = log(tmp_path / "state.json")

    assert json.loads(after.document(None, None)) == json.loads(before.document(None, None))
    assert after.tally(None, None) == before.tally(None, None)
    assert after.totals() == {"stripe": {"charge": 1}, "sendgrid": {"mail": 6}}
    after.record("stripe", "charge", "ch_2")
    assert seqs(after, "stripe", None) == [1, 8]


def test_the_last_one_to_an_address() -> None:
    made = filled(log())

    found = made.latest("sendgrid", "B@x.de")
    assert found is not None
    assert (found["seq"], found["data"]) == (6, {"n": 4})
    assert made.latest("sendgrid", "nobody@x.de") is None
    assert made.latest("stripe", "b@x.de") is None


def test_a_thousand_mails_take_little_room(direct_mail: Direct, state: State) -> None:
    people = [
        to(
            f"user{n}@example.com",
            custom_args={"ferryman_email": f"0{n:07x}-0000-4000-8000-00000000", "n": str(n)},
            dynamic_template_data={"name": f"Name {n}", "city": "Berlin", "note": "n" * 200},
            headers={"List-Unsubscribe": f"<https://shop.example.com/off/{n}>"},
        )
        for n in range(1000)
    ]
    assert send(direct_mail, letter(personalizations=people)) == (202, [])

    (run,) = state.effects._runs
    assert (run.count, len(run.shared) + len(run.each) < 150 * 1000) == (1000, True)


def test_counted_from_where_a_test_began(sandbox: Sandbox, mail: httpx.Client) -> None:
    def sent() -> dict[str, int]:
        assert mail.post(SEND, json=letter()).status_code == 202
        return sandbox.tally("sendgrid", "mail")

    assert sent() == {"effects": 1, "addresses": 1, "repeated": 0}
    assert sent() == {"effects": 2, "addresses": 1, "repeated": 1}
    sandbox.begin()
    assert sent() == {"effects": 1, "addresses": 1, "repeated": 0}
    assert sandbox.tally(after=0)["effects"] == 3
    assert sandbox.tally("stripe")["effects"] == 0
