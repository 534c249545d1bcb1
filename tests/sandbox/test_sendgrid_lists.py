"""SendGrid's suppression lists: who gets onto them, and how they are read and shortened."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.sendgrid import lists
from sandbox.state import State
from tests.sandbox.conftest import Direct
from tests.sandbox.test_sendgrid import letter, send, to

LISTS = "/v3/suppression"
WRONG: list[Any] = [{}, [], {"delete_all": True, "emails": ["a"]}]
GLOBAL = "/v3/asm/suppressions/global"


def suppress(direct: Direct, name: str, *emails: str, **more: str) -> None:
    for email in emails:
        direct.vendor.dashboard("suppress", {"list": name, "email": email, **more})


def get(direct: Direct, path: str, query: str = "") -> Any:
    answer = direct.ask("GET", path, query)
    assert answer.status == 200
    assert answer.headers["X-RateLimit-Limit"]
    return json.loads(answer.body)


def on(direct: Direct, name: str, query: str = "") -> list[str]:
    return [entry["email"] for entry in get(direct, f"{LISTS}/{name}", query)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("bounce@example.com", "bounces"),
        ("blocked@example.com", "blocks"),
        ("spam@example.com", "spam_reports"),
        ("unsubscribe@example.com", "unsubscribes"),
    ],
)
def test_an_event_puts_its_address_on_a_list(direct_mail: Direct, address: str, name: str) -> None:
    assert send(direct_mail, letter(personalizations=[to(address), to("ada@b.de")])) == (202, [])

    for other in lists.SHOWN:
        assert on(direct_mail, other) == ([address] if other == name else [])
    (entry,) = get(direct_mail, f"{LISTS}/{name}")
    assert abs(entry["created"] - time.time()) < 5
    assert name not in ("bounces", "blocks") or entry["reason"].startswith("550 5.")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"event": "bounce"}, "bounces"),
        ({"event": "bounce", "type": "blocked"}, "blocks"),
        ({"event": "spamreport"}, "spam_reports"),
        ({"event": "unsubscribe"}, "unsubscribes"),
        ({"event": "delivered"}, None),
    ],
)
def test_so_does_an_event_by_hand(
    direct_mail: Direct, event: dict[str, str], name: str | None
) -> None:
    direct_mail.vendor.dashboard("event", {"email": "ada@example.com", **event})

    listed = {other for other in lists.SHOWN if on(direct_mail, other)}
    assert listed == ({name} if name else set())


def test_page_by_page_newest_first(direct_mail: Direct) -> None:
    suppress(direct_mail, "bounces", *(f"u{n}@example.com" for n in range(5)), "U0@example.com")

    whole = ["U0@example.com", *(f"u{n}@example.com" for n in (4, 3, 2, 1))]
    assert on(direct_mail, "bounces") == whole
    pages = [on(direct_mail, "bounces", f"limit=2&offset={offset}") for offset in (0, 2, 4, 6)]
    assert pages == [whole[:2], whole[2:4], whole[4:], []]
    assert on(direct_mail, "bounces", "email=u0") == ["U0@example.com"]


def test_a_page_has_500_at_most(direct_mail: Direct) -> None:
    suppress(direct_mail, "unsubscribes", *(f"u{n}@example.com" for n in range(501)))

    assert len(on(direct_mail, "unsubscribes")) == 500
    assert on(direct_mail, "unsubscribes", "limit=500&offset=500") == ["u0@example.com"]


def test_by_the_time_of_their_coming(direct_mail: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in (100, 200, 300):
        monkeypatch.setattr(time, "time", functools.partial(float, at))
        suppress(direct_mail, "blocks", f"u{at}@example.com")

    assert on(direct_mail, "blocks", "start_time=200") == ["u300@example.com", "u200@example.com"]
    assert on(direct_mail, "blocks", "start_time=101&end_time=200") == ["u200@example.com"]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "offset=-1", "start_time=now"])
def test_a_parameter_that_cannot_be(direct_mail: Direct, query: str) -> None:
    answer = direct_mail.ask("GET", f"{LISTS}/bounces", query)

    assert answer.status == 400
    assert json.loads(answer.body)["errors"][0]["field"] == query.partition("=")[0]


def test_one_address_and_taking_it_off(direct_mail: Direct) -> None:
    suppress(direct_mail, "bounces", "ada@example.com", reason="550", status="5.0.0")
    path = f"{LISTS}/bounces/ADA@example.com"

    (entry,) = get(direct_mail, path)
    assert (entry["reason"], entry["status"]) == ("550", "5.0.0")
    assert direct_mail.ask("DELETE", path).status == 204
    assert (get(direct_mail, path), on(direct_mail, "bounces")) == ([], [])
    assert direct_mail.ask("DELETE", path).status == 404
    assert send(direct_mail, letter(personalizations=[to("ada@example.com")]))[0] == 202


def test_unsubscribes_are_taken_off_by_a_path_of_their_own(direct_mail: Direct) -> None:
    suppress(direct_mail, "unsubscribes", "ada@example.com")
    path = f"{GLOBAL}/ada@example.com"

    assert get(direct_mail, path) == {"recipient_email": "ada@example.com"}
    assert direct_mail.ask("DELETE", path).status == 204
    assert (get(direct_mail, path), on(direct_mail, "unsubscribes")) == ({}, [])


def test_taking_several_or_all_off(direct_mail: Direct) -> None:
    suppress(direct_mail, "blocks", *(f"u{n}@example.com" for n in range(4)))

    def remove(given: Any) -> int:
        return direct_mail.ask("DELETE", f"{LISTS}/blocks", json.dumps(given)).status

    assert [remove(wrong) for wrong in WRONG] == [400, 400, 400]
    assert remove({"emails": ["u1@example.com", "U2@example.com", "nobody@example.com"]}) == 204
    assert on(direct_mail, "blocks") == ["u3@example.com", "u0@example.com"]
    assert remove({"delete_all": True}) == 204
    assert on(direct_mail, "blocks") == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{LISTS}/bounces", 405),
        ("PATCH", f"{LISTS}/bounces/a@b.de", 405),
        ("DELETE", f"{LISTS}/unsubscribes", 405),
        ("GET", f"{LISTS}/unsubscribes/a@b.de", 404),
        ("GET", f"{LISTS}/friends", 404),
        ("GET", f"{LISTS}/bounces/", 404),
        ("POST", f"{GLOBAL}/a@b.de", 405),
    ],
)
def test_other_paths_and_methods(direct_mail: Direct, method: str, path: str, status: int) -> None:
    assert direct_mail.ask(method, path).status == status
    assert direct_mail.ask(method, path, authorization="Bearer other").status == 401


def test_lists_outlive_a_kill(tmp_path: Path, direct_mail: Direct) -> None:
    before = State(1, tmp_path / "state.json")
    old = Direct(before.vendors["sendgrid"], direct_mail.headers)
    suppress(old, "bounces", "ada@example.com", "eve@example.com")
    old.ask("DELETE", f"{LISTS}/bounces/ada@example.com")
    before.journal.flush()

    new = Direct(State(1, tmp_path / "state.json").vendors["sendgrid"], direct_mail.headers)

    assert on(new, "bounces") == ["eve@example.com"]
