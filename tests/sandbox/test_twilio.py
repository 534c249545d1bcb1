"""Twilio: strict about every message, one effect each, no idempotency, and callbacks that Twilio's
own validator takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client as Sdk

from adapters import twilio
from adapters._base import Delivery
from adapters._http import Client, HttpCall
from adapters._messages import MessageOrder
from adapters._news import MessageNews
from ferryman.policies import policy
from ferryman.settings import settings
from ferryman.testing import Sandbox
from sandbox.state import State
from sandbox.twilio import segments
from sandbox.twilio.fake import ACCOUNT_SID, AUTH_TOKEN, LIST, ONE
from tests.adapters import doubles
from tests.harness import until
from tests.sandbox.conftest import FORM, Direct
from tests.sandbox.conftest import TWILIO_BASIC as BASIC
from tests.sandbox.test_webhooks import Shop

SENDER, TO = "+15005550006", "+441632960961"
SERVICE = "MG" + "0c" * 16
GIVEN = {"To": TO, "From": SENDER, "Body": "Hello"}


@pytest.fixture
def sms(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Twilio by HTTP."""
    url, auth = sandbox.base_url("twilio"), (ACCOUNT_SID, AUTH_TOKEN)
    with httpx.Client(base_url=url, auth=auth, timeout=5, trust_env=False) as client:
        yield client


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


class Elsewhere(TwilioHttpClient):
    """The official package's client, at the sandbox."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout=5)
        self.session.trust_env = False
        self._url = url

    def request(self, method: str, url: str, *words: Any, **named: Any) -> Any:
        return super().request(
            method, url.replace("https://api.twilio.com", self._url), *words, **named
        )


@pytest.fixture
def sdk(sandbox: Sandbox) -> Sdk:
    return Sdk(ACCOUNT_SID, AUTH_TOKEN, http_client=Elsewhere(sandbox.base_url("twilio")))


def given(**changes: str | None) -> dict[str, str]:
    """A message that is taken; a change to None takes a parameter away."""
    return {name: value for name, value in {**GIVEN, **changes}.items() if value is not None}


def send(direct: Direct, **changes: str | None) -> tuple[int, dict[str, Any]]:
    status, told = direct.form("POST", LIST, given(**changes))
    return status, told


def test_a_message_is_made_listed_and_fetched(sandbox: Sandbox, sdk: Sdk) -> None:
    made = sdk.messages.create(to=TO, from_=SENDER, body="Hello")

    assert (made.status, made.num_segments, made.date_sent) == ("queued", "1", None)
    assert datetime.now(UTC) - made.date_created < timedelta(seconds=10)
    fetched = sdk.messages(made.sid).fetch()
    assert (fetched.status, fetched.body, fetched.error_code) == ("delivered", "Hello", None)
    assert fetched.date_sent
    assert [one.sid for one in sdk.messages.list(to=TO)] == [made.sid]
    (effect,) = sandbox.effects("twilio", "message")
    told = {name: effect[name] for name in ("reference", "to", "sender", "body", "job")}
    assert told == {
        "reference": made.sid,
        "to": TO,
        "sender": SENDER,
        "body": "Hello",
        "job": None,
    }


def test_the_same_request_again_is_a_second_message(sandbox: Sandbox, sdk: Sdk) -> None:
    sids = {sdk.messages.create(to=TO, from_=SENDER, body="Hello").sid for _ in range(2)}
    assert len(sids) == 2
    assert sandbox.totals() == {"twilio": {"message": 2}}


def test_pages_lead_to_each_other(sdk: Sdk) -> None:
    made = [sdk.messages.create(to=TO, from_=SENDER, body=f"{n}").sid for n in range(5)]
    sdk.messages.create(to="+441632960999", from_=SENDER, body="another's")

    assert [one.sid for one in sdk.messages.list(to=TO, page_size=2)] == made[::-1]
    assert len(sdk.messages.list(from_=SENDER)) == 6
    assert sdk.messages.list(from_="+15005550001") == []


def test_what_waits_was_sent_on_no_day(sandbox: Sandbox, sdk: Sdk) -> None:
    sdk.messages.create(to=TO, from_=SENDER, body="sent")
    sandbox.dashboard("twilio", "settings", hold=True)
    waiting = sdk.messages.create(to=TO, from_=SENDER, body="waits")
    today = datetime.now(UTC)
    day = timedelta(days=1)

    def bodies(**bounds: datetime) -> list[str]:
        return [one.body for one in sdk.messages.list(to=TO, **bounds)]

    assert bodies() == ["waits", "sent"]
    assert bodies(date_sent_after=today) == bodies(date_sent_before=today) == ["sent"]
    assert bodies(date_sent=today) == ["sent"]
    assert bodies(date_sent_after=today + day) == bodies(date_sent_before=today - day) == []

    sandbox.dashboard("twilio", "settle", message=waiting.sid, status="sent")
    assert bodies(date_sent=today) == ["waits", "sent"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        # Twilio's own test numbers.
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": "+15005550001"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"From": "+15005550005"}, 21606),
        # Others.
        ({"To": None}, 21604),
        ({"To": "01632 960961"}, 21211),
        ({"To": "+1500555000612345678"}, 21211),
        ({"From": None}, 21603),
        ({"From": "?"}, 21212),
        ({"From": "SHOP 24"}, 21606),
        ({"From": None, "MessagingServiceSid": "MG" + "0" * 32}, 21701),
        ({"Body": None}, 21602),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"StatusCallback": "jobs.example.com/x"}, 21609),
        ({"StatusCallback": "http://jobs_example.com/x"}, 21609),
        ({"StatusCallback": "https://x/" + "y" * 4000}, 21609),
        ({"Boody": "x"}, 20001),
        ({"MessagingServiceSid": "MG0"}, 20001),
        ({"ValidityPeriod": "soon"}, 20001),
        ({"SmartEncoded": "yes"}, 20001),
    ],
)
def test_refusals(direct_sms: Direct, changes: dict[str, str | None], code: int) -> None:
    status, told = send(direct_sms, **changes)

    assert (status, told["code"], told["status"]) == (400, code, 400)
    assert told["more_info"].endswith(f"/{code}")
    assert direct_sms.vendor.world.effects.totals() == {}


def test_the_official_package_reads_a_refusal(sdk: Sdk) -> None:
    with pytest.raises(TwilioRestException) as raised:
        sdk.messages.create(to="+15005550001", from_=SENDER, body="Hello")
    assert (raised.value.status, raised.value.code) == (400, 21211)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("POST", LIST, {"authorization": ""}, 401, 20003),
        ("POST", LIST, {"authorization": BASIC.replace("Basic", "Bearer")}, 401, 20003),
        ("POST", LIST, {"authorization": "Basic ?"}, 401, 20003),
        ("POST", LIST, {"authorization": "Basic QUM6eA=="}, 401, 20003),
        ("POST", LIST.replace("5a5a", "5a5b"), {}, 404, 20404),
        ("GET", f"{ONE}SM{'0' * 32}.json", {}, 404, 20404),
        ("PUT", LIST, {}, 405, 20004),
        # Of such a body it sees nothing.
        ("POST", LIST, {"content-type": "application/json"}, 400, 21604),
    ],
)
def test_what_needs_no_look_into_the_form(
    direct_sms: Direct, method: str, path: str, headers: dict[str, str], status: int, code: int
) -> None:
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    got, told = direct_sms.form(method, path, GIVEN, **named)
    assert (got, told["code"]) == (status, code)


@pytest.mark.parametrize(
    "query", [{"PageSize": 1001}, {"Page": -1}, {"To2": "x"}, {"PageToken": "x"}]
)
def test_lists_are_checked_too(direct_sms: Direct, query: dict[str, Any]) -> None:
    status, told = direct_sms.form("GET", LIST, query)
    assert (status, told["code"]) == (400, 20001)


def test_throttled(sandbox: Sandbox, sms: httpx.Client) -> None:
    sandbox.limit("twilio", 1)
    answers = [sms.post(LIST, data=GIVEN) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429]
    assert answers[1].json()["code"] == 20429
    assert sandbox.totals() == {"twilio": {"message": 1}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        # An escaped character is not cut in two: 76 of them leave one place empty.
        ("€" * 153, 3),
        ("ł" * 70, 1),
        ("ł" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 67, 3),
        ("", 1),
    ],
)
def test_segments(text: str, parts: int) -> None:
    assert segments.count(text) == parts


def test_a_messaging_service_chooses_its_number_later(direct_sms: Direct) -> None:
    status, told = send(direct_sms, From=None, MessagingServiceSid=SERVICE)

    assert (status, told["status"], told["from"], told["num_segments"]) == (
        201,
        "accepted",
        None,
        "0",
    )
    _, later = direct_sms.form("GET", told["uri"], {})
    assert (later["from"], later["num_segments"]) == (SENDER, "1")
    assert later["messaging_service_sid"] == SERVICE


# --- callbacks


def callbacks(shop: Shop, count: int, path: str) -> list[dict[str, str]]:
    """Exactly so many, as Twilio's own validator takes them, by status."""
    until(lambda: len(shop.seen) >= count, 5, what=f"{len(shop.seen)} of {count} callbacks")
    assert len(shop.seen) == count
    found = []
    for headers, body in shop.seen:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        url, signature = f"http://127.0.0.1:{shop.port}{path}", headers["X-Twilio-Signature"]
        assert RequestValidator(AUTH_TOKEN).validate(url, form, signature)
        assert not RequestValidator("another").validate(url, form, signature)
        assert headers["Content-Type"] == FORM
        found.append(form)
    return found


@pytest.mark.parametrize(
    ("to", "statuses", "code"),
    [
        ("+441632960961", {"queued", "sent", "delivered"}, None),
        ("+441632960990", {"queued", "sent", "undelivered"}, "30005"),
        ("+441632960991", {"queued", "failed"}, "30008"),
        ("+441632960994", {"queued", "sent"}, None),
        ("+441632960995", {"queued"}, None),
    ],
)
def test_what_becomes_of_a_message_is_told(
    sdk: Sdk, shop: Shop, to: str, statuses: set[str], code: str | None
) -> None:
    path = "/webhooks/twilio?message=7"
    url = f"http://127.0.0.1:{shop.port}{path}"
    sid = sdk.messages.create(to=to, from_=SENDER, body="Hello", status_callback=url).sid

    told = callbacks(shop, len(statuses), path)

    assert {form["MessageStatus"] for form in told} == statuses
    assert {form["MessageSid"] for form in told} == {sid}
    assert {form.get("ErrorCode") for form in told} == {None, code}


def test_only_this_machine_is_called(sandbox: Sandbox, sdk: Sdk, shop: Shop) -> None:
    sandbox.webhooks("twilio", shop.url)
    for url in ("https://jobs.example.com/x", "http://10.0.0.1/x", None):
        sdk.messages.create(to=TO, from_=SENDER, body="Hello", status_callback=url)
    assert sandbox.deliveries("twilio") == []


def test_callbacks_are_doubled_and_held_as_the_target_says(
    sandbox: Sandbox, sdk: Sdk, shop: Shop
) -> None:
    sandbox.webhooks("twilio", "http://127.0.0.1:1/", duplicates=2, hold=True)
    sdk.messages.create(to=TO, from_=SENDER, body="Hello", status_callback=shop.url)
    assert shop.seen == []

    assert sandbox.release("twilio") == 6
    callbacks(shop, 6, "/webhooks/stripe")


def test_who_asks_for_no_more_gets_none(sandbox: Sandbox, sdk: Sdk, shop: Shop) -> None:
    sandbox.webhooks("twilio", shop.url)
    answer = sandbox.dashboard("twilio", "receive", number=TO, body=" stop ")
    assert answer["direction"] == "inbound"
    (told,) = callbacks(shop, 1, "/webhooks/stripe")
    assert (told["From"], told["To"], told["Body"]) == (TO, SENDER, " stop ")
    with pytest.raises(TwilioRestException) as raised:
        sdk.messages.create(to=TO, from_=SENDER, body="Hello")
    assert raised.value.code == 21610

    sandbox.dashboard("twilio", "receive", number=TO, body="START")
    sdk.messages.create(to=TO, from_=SENDER, body="Hello")
    sandbox.dashboard("twilio", "opt_out", number=TO)
    with pytest.raises(TwilioRestException):
        sdk.messages.create(to=TO, from_=SENDER, body="Hello")


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("fly", {}),
        ("settle", {"message": "SM0"}),
        ("receive", {"number": "x", "body": "STOP"}),
        ("opt_out", {}),
        ("settings", {"colour": "red"}),
    ],
)
def test_a_wrong_action_is_refused(
    sandbox: Sandbox, action: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=action):
        sandbox.dashboard("twilio", action, **arguments)


def test_messages_and_opt_outs_outlive_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    headers = {"authorization": BASIC, "content-type": FORM}
    before = State(seed=7, state_file=file)
    _, made = send(Direct(before.vendors["twilio"], headers))
    before.vendors["twilio"].dashboard("opt_out", {"number": TO})
    before.journal.flush()

    after = Direct(State(seed=7, state_file=file).vendors["twilio"], headers)

    assert after.form("GET", made["uri"], {})[1]["status"] == "delivered"
    assert send(after)[1]["code"] == 21610


# --- the adapter on the fake


async def test_the_adapter_sends_finds_and_hears(
    sandbox: Sandbox, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    public = f"http://127.0.0.1:{shop.port}"
    monkeypatch.setenv("FERRYMAN_PUBLIC_URL", public)
    settings.cache_clear()
    adapter, numbers = twilio.Adapter(), policy("twilio")
    client = Client(numbers)
    call = HttpCall("twilio", client, numbers, doubles.Notes())
    order = MessageOrder(UUID(int=7), "+441632960990", "Grüße & 5 %")
    since = datetime.now(UTC)

    assert await adapter.find_messages(call, order, since) == []
    sent = await adapter.send_message(call, order)
    found = await adapter.find_messages(call, order, since)
    await client.close()

    assert found == [sent]
    assert sandbox.effects("twilio")[0]["job"] == str(order.id)
    callbacks(shop, 3, f"/webhooks/twilio?message={order.id}")
    news = []
    for headers, body in shop.seen:
        named = {name.lower(): value for name, value in headers.items()}
        url = f"{public}/webhooks/twilio?message={order.id}"
        (event,) = await adapter.receive(Delivery(named, body, url))
        news += adapter.news(event)
    settings.cache_clear()
    assert all(isinstance(one, MessageNews) and one.message == order.id for one in news)
    assert sorted(one.what for one in news) == ["bounced", "processed", "processed"]
    assert {one.address for one in news} == {None, order.to}
