"""SendGrid's event webhooks: what the address asks for happens, is told, and signed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader

from ferryman.testing import Sandbox
from sandbox.sendgrid import signing
from sandbox.state import State
from sandbox.vendor import UnknownAction
from sandbox.webhooks import Target
from tests.harness import until
from tests.sandbox.conftest import Direct
from tests.sandbox.test_sendgrid import SEND, letter, send, to
from tests.sandbox.test_webhooks import Shop

OWN = {"ferryman_email": "e-1", "ferryman_job": "j-1"}
KEY = "SENDGRID_WEBHOOK_PUBLIC_KEY"
Told = list[dict[str, Any]]


class Box:
    """What the fake has told, delivery by delivery."""

    def __init__(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self.deliveries: list[Told] = []
        monkeypatch.setattr(state.webhooks, "send", self._take)
        state.webhooks.aim("sendgrid", Target("http://127.0.0.1:1/webhooks/sendgrid"))

    def _take(self, vendor: str, event_id: str, body: Any, type: str | None = None) -> None:
        made = body if isinstance(body, bytes) else body()
        assert made.endswith(b"]\r\n")
        self.deliveries.append(json.loads(made))
        first = self.deliveries[-1][0]
        assert event_id == first["sg_event_id"]
        assert type in (None, first["event"])

    @property
    def events(self) -> Told:
        return [event for delivery in self.deliveries for event in delivery]


@pytest.fixture
def box(state: State, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(state, monkeypatch)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


def told(direct: Direct, box: Box, address: str, **changes: Any) -> Told:
    """The events of one mail."""
    one = to(address, custom_args=OWN)
    assert send(direct, letter(personalizations=[one], **changes)) == (202, [])
    return box.events


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ada@example.com", ["processed", "delivered"]),
        ("bounce-1@example.com", ["processed", "bounce"]),
        ("blocked@example.com", ["processed", "bounce"]),
        ("Deferred.x@example.com", ["processed", "deferred", "delivered"]),
        ("spam@example.com", ["processed", "delivered", "spamreport"]),
        ("unsubscribe@example.com", ["processed", "delivered", "unsubscribe"]),
        ("open@example.com", ["processed", "delivered", "open"]),
        ("click@example.com", ["processed", "delivered", "open", "click"]),
        ("a-bounce@example.com", ["processed", "delivered"]),
    ],
)
def test_the_address_says_what_becomes_of_a_mail(
    direct_mail: Direct, box: Box, state: State, address: str, expected: list[str]
) -> None:
    found = told(direct_mail, box, address, categories=["news"])

    assert [event["event"] for event in found] == expected
    assert len({event["sg_event_id"] for event in found}) == len(expected)
    (effect,) = json.loads(state.effects.document("sendgrid", "mail"))["effects"]
    for event in found:
        assert event.items() >= {"email": address, "category": ["news"], **OWN}.items()
        assert event["sg_message_id"].startswith(f"{effect['reference']}.recvd-")
        assert isinstance(event["timestamp"], int)
        assert ("smtp-id" in event) == (event["event"] not in ("open", "click"))


@pytest.mark.parametrize(
    ("address", "place", "details"),
    [
        ("ada@example.com", 1, {"response": "250 2.0.0 OK"}),
        ("bounce@example.com", 1, {"type": "bounce", "status": "5.1.1"}),
        ("blocked@example.com", 1, {"type": "blocked", "status": "5.7.1"}),
        ("deferred@example.com", 1, {"attempt": "1"}),
        ("click@example.com", 3, {"url": "https://shop.example.com/news", "ip": "127.0.0.1"}),
    ],
)
def test_an_event_says_why(
    direct_mail: Direct, box: Box, address: str, place: int, details: dict[str, Any]
) -> None:
    event = told(direct_mail, box, address)[place]

    assert event.items() >= details.items()
    assert "category" not in event
    assert event["event"] != "bounce" or event["reason"].startswith("550 5.")
    assert event["event"] not in ("open", "click") or event["useragent"]


def test_copies_see_events_of_their_own_and_a_custom_argument_hides_no_field(
    direct_mail: Direct, box: Box
) -> None:
    one = to("a@example.com", cc=[{"email": "spam@example.com"}], custom_args={"email": "e-1"})
    assert send(direct_mail, letter(personalizations=[one], custom_args=OWN))[0] == 202

    assert Counter((event["email"], event["event"]) for event in box.events) == Counter(
        [
            *(("a@example.com", what) for what in ("processed", "delivered")),
            *(("spam@example.com", what) for what in ("processed", "delivered", "spamreport")),
        ]
    )
    assert {event["ferryman_job"] for event in box.events} == {"j-1"}


def test_many_events_leave_in_lists_of_some_hundred(direct_mail: Direct, box: Box) -> None:
    people = [to(f"{'click' if n == 7 else 'user'}{n}@example.com") for n in range(600)]
    assert send(direct_mail, letter(personalizations=people))[0] == 202

    assert [len(delivery) for delivery in box.deliveries] == [250, 250, 100] * 2 + [1, 1]
    for what in ("processed", "delivered"):
        at = [event["email"] for event in box.events if event["event"] == what]
        assert at == [one["to"][0]["email"] for one in people]
    assert len({event["sg_event_id"] for event in box.events}) == 1202


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bounces", "Bounced Address"),
        ("spam_reports", "Spam Reporting Address"),
        ("unsubscribes", "Unsubscribed Address"),
        ("invalid_emails", "Invalid"),
    ],
)
def test_who_is_on_a_list_gets_nothing(
    direct_mail: Direct, box: Box, state: State, name: str, reason: str
) -> None:
    direct_mail.vendor.dashboard("suppress", {"list": name, "email": "Eve@example.com"})
    people = [to("eve@Example.com", custom_args=OWN), to("ada@example.com")]
    assert send(direct_mail, letter(personalizations=people))[0] == 202

    (dropped,) = (event for event in box.events if event["email"] == "eve@Example.com")
    assert dropped.items() >= {"event": "dropped", "reason": reason, **OWN}.items()
    assert state.effects.tally("sendgrid", "mail")["effects"] == 1
    assert json.loads(state.effects.document(None, None))["effects"][0]["to"] == "ada@example.com"


def test_a_block_keeps_nothing_back_and_lists_can_be_bypassed(
    direct_mail: Direct, box: Box, state: State
) -> None:
    for name in ("blocks", "bounces"):
        direct_mail.vendor.dashboard("suppress", {"list": name, "email": f"{name}@example.com"})
    both = [to("blocks@example.com"), to("bounces@example.com")]

    assert send(direct_mail, letter(personalizations=both))[0] == 202
    assert state.effects.totals() == {"sendgrid": {"mail": 1}}
    for setting in ("bypass_list_management", "bypass_bounce_management"):
        bypass = {setting: {"enable": True}}
        mail = letter(personalizations=[to("bounces@example.com")], mail_settings=bypass)
        box.deliveries.clear()
        assert send(direct_mail, mail)[0] == 202
        assert [event["event"] for event in box.events] == ["processed", "bounce"]


def test_nothing_is_told_where_nobody_listens_nor_of_a_mail_that_was_not_sent(
    direct_mail: Direct, box: Box, state: State
) -> None:
    quiet = letter(mail_settings={"sandbox_mode": {"enable": True}})
    assert send(direct_mail, quiet)[0] == 200
    assert send(direct_mail, letter(personalizations=[to("refuse@example.com")]))[0] == 400
    state.webhooks.aim("sendgrid", None)
    assert send(direct_mail, letter(personalizations=[to("bounce@example.com")]))[0] == 202
    assert send(direct_mail, letter(personalizations=[to("bounce@example.com")]))[0] == 202

    assert box.deliveries == []
    # It bounced all the same.
    assert state.effects.totals() == {"sendgrid": {"mail": 1}}


def test_any_event_by_hand(direct_mail: Direct, box: Box) -> None:
    told(direct_mail, box, "ada@example.com", categories=["news"])
    first = box.events[0]
    box.deliveries.clear()

    made = direct_mail.vendor.dashboard(
        "event", {"event": "bounce", "email": "ada@example.com", "type": "blocked", "status": "4"}
    )
    direct_mail.vendor.dashboard(
        "events", {"events": [{"event": "group_resubscribe", "email": "x@y.de"}, first]}
    )

    (by_hand,), (other, again) = box.deliveries
    assert by_hand == made
    assert by_hand.items() >= {"event": "bounce", "status": "4", "category": ["news"]}.items()
    assert by_hand["ferryman_email"] == "e-1"
    assert by_hand["sg_event_id"] != first["sg_event_id"]
    assert (other["event"], "ferryman_email" in other) == ("group_resubscribe", False)
    assert again == first


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("bounce", {}),
        ("event", {"event": "open"}),
        ("events", {"events": []}),
        ("events", {"events": ["open"]}),
        ("suppress", {"list": "friends", "email": "a@b.de"}),
        ("suppress", {"email": "a@b.de"}),
    ],
)
def test_what_the_dashboard_does_not_know(
    direct_mail: Direct, action: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(UnknownAction):
        direct_mail.vendor.dashboard(action, arguments)


def test_deliveries_are_signed_as_sendgrids_own_helper_checks(
    sandbox: Sandbox, mail: httpx.Client, shop: Shop
) -> None:
    sandbox.webhooks("sendgrid", shop.url, duplicates=2)
    assert mail.post(SEND, json=letter()).status_code == 202
    until(lambda: len(shop.seen) == 4, 5, what="two copies of two deliveries")

    helper = EventWebhook(sandbox.environment()[KEY])
    for given, body in shop.seen:
        headers = {name.lower(): value for name, value in given.items()}
        signature = headers[EventWebhookHeader.SIGNATURE.lower()]
        at = headers[EventWebhookHeader.TIMESTAMP.lower()]
        assert helper.verify_signature(body.decode(), signature, at)
        assert not helper.verify_signature(body.decode().rstrip(), signature, at)
        assert not helper.verify_signature(body.decode(), signature, str(int(at) + 1))
    bodies = Counter(body for _, body in shop.seen)
    assert sorted(bodies.values()) == [2, 2]
    assert {one["type"] for one in sandbox.deliveries("sendgrid")} == {"processed", "delivered"}


def test_the_key_is_the_folders(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "by-it"
    first = signing.public_key(folder)
    signing._key.cache_clear()  # as in another process
    assert signing.public_key(folder) == first
    assert (folder / signing.KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert signing.public_key(tmp_path) != first

    (folder / signing.KEY_FILE).write_bytes(b"torn")
    signing._key.cache_clear()
    assert signing.public_key(folder) != first
