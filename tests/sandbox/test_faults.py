"""Every fault, seen by a real client on a real connection; and what stands at the vendor then."""

from __future__ import annotations

import json
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from ferryman.testing import Sandbox
from tests.harness import STRIPE_KEY, until
from tests.sandbox.conftest import FORM, payment

INTENTS = "/v1/payment_intents"


def pay(http: httpx.Client, *, card: str = "pm_card_visa", **options: Any) -> httpx.Response:
    headers = {"Content-Type": FORM, "Idempotency-Key": "k-1"}
    body = urlencode(payment(payment_method=card))
    return http.post(INTENTS, content=body, headers=headers, **options)


def charges(sandbox: Sandbox) -> int:
    return len(sandbox.effects(vendor="stripe", kind="charge"))


def install(sandbox: Sandbox, do: str, **options: Any) -> None:
    sandbox.script([{"do": do, "vendor": "stripe", "when": {"first": 1}, **options}])


def idle(pid: int) -> bool:
    """Whether a process did not use the CPU for a fifth of a second."""

    def ticks() -> int:
        user, system = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
        return int(user) + int(system)

    before = ticks()
    time.sleep(0.2)
    return ticks() == before


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("do", "effects"), [("drop_before", 0), ("drop_after", 1)])
@pytest.mark.parametrize("reused", [False, True])
def test_a_cut_connection(
    sandbox: Sandbox, http: httpx.Client, do: str, effects: int, reset: bool, reused: bool
) -> None:
    if reused:
        http.get("/v1/balance")
    install(sandbox, do, reset=reset)

    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        pay(http)

    assert charges(sandbox) == effects
    assert sandbox.requests("stripe")[-1]["status"] is None
    again = pay(http)
    assert again.status_code == 200
    assert ("Idempotent-Replayed" in again.headers) is (effects == 1)
    assert charges(sandbox) == 1


@pytest.mark.parametrize(("do", "effects"), [("silent_before", 0), ("silent_after", 1)])
def test_a_silent_vendor(sandbox: Sandbox, http: httpx.Client, do: str, effects: int) -> None:
    install(sandbox, do)

    with pytest.raises(httpx.ReadTimeout):
        pay(http, timeout=0.2)

    assert charges(sandbox) == effects
    assert pay(http).status_code == 200
    assert charges(sandbox) == 1


def test_latency_comes_before_the_effect(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "latency", seconds=0.3)

    with pytest.raises(httpx.ReadTimeout):
        pay(http, timeout=0.1)

    assert charges(sandbox) == 0
    until(lambda: charges(sandbox) == 1, what="the vendor acts though its client has left")


def test_a_late_answer_comes_after_the_effect(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "late", seconds=5)

    with pytest.raises(httpx.ReadTimeout):
        pay(http, timeout=0.2)

    assert charges(sandbox) == 1
    assert pay(http).headers["Idempotent-Replayed"] == "true"


def test_status_with_the_vendors_own_words(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "status", status=503, headers={"Retry-After": 7})

    answer = pay(http)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.json()["error"]["type"] == "api_error"
    assert charges(sandbox) == 0


def test_an_outage_with_a_date_to_come_again(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "status", status=503, retry_after=5, as_date=True)

    date = parsedate_to_datetime(pay(http).headers["Retry-After"])

    assert 3 < date.timestamp() - time.time() <= 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not(sandbox: Sandbox, http: httpx.Client, status: int) -> None:
    rule = {"do": "status", "status": status, "path": "/v1/payment_intents", "method": "POST"}
    sandbox.script([rule])

    assert pay(http).status_code == status
    assert http.get("/v1/balance").status_code == 200


@pytest.mark.parametrize(("body", "text"), [("<html>", "<html>"), ({"a": [1]}, '{"a":[1]}')])
def test_status_with_a_body_of_ones_own(
    sandbox: Sandbox, http: httpx.Client, body: Any, text: str
) -> None:
    install(sandbox, "status", status=502, body=body)

    assert pay(http).text == text


def test_throttle_says_when_to_come_again(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "throttle", retry_after=3)
    seconds = pay(http)
    install(sandbox, "throttle", retry_after=3, as_date=True)
    date = pay(http)
    install(sandbox, "throttle", retry_after=None)
    silent = pay(http)

    assert {answer.status_code for answer in (seconds, date, silent)} == {429}
    assert seconds.headers["Retry-After"] == "3"
    wait = parsedate_to_datetime(date.headers["Retry-After"]).timestamp() - time.time()
    assert 1 < wait <= 3
    assert "Retry-After" not in silent.headers
    assert charges(sandbox) == 0


def test_an_error_after_the_effect(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "error_after")

    assert pay(http).status_code == 500
    assert charges(sandbox) == 1


def test_an_error_before_the_effect_is_kept_under_the_key(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    install(sandbox, "error_before", status=502)

    first, second = pay(http), pay(http)
    sandbox.dashboard("stripe", "forget_keys", key="k-1")
    third = pay(http)

    assert [answer.status_code for answer in (first, second, third)] == [502, 502, 200]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.content == first.content
    assert charges(sandbox) == 1


def test_garbled(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "garble")

    answer = pay(http)

    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
    assert charges(sandbox) == 1


def test_a_slow_body_comes_byte_by_byte(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.script([{"do": "slow_body", "seconds": 0.001}])

    with http.stream("GET", "/v1/balance") as answer:
        chunks = list(answer.iter_raw())

    assert b"".join(chunks).startswith(b'{"object":"balance"')
    assert len(chunks) > 10


@pytest.mark.parametrize("kind", ["nul_escapes", "surrogates"])
def test_texts_that_no_database_takes(sandbox: Sandbox, http: httpx.Client, kind: str) -> None:
    install(sandbox, "garble", **{"as": kind})

    told = json.loads(pay(http, card="pm_card_chargeDeclined").content)

    assert told["error"]["code"] == "card_declined"
    for text in (told["note"], told["error"]["message"]):
        assert "\0" in text or "\ud800" in text


@pytest.mark.parametrize(("kind", "bytes"), [("nul_bytes", b"\0\0"), ("invalid_utf8", b"\xff\xfe")])
def test_bytes_that_no_json_may_hold(
    sandbox: Sandbox, http: httpx.Client, kind: str, bytes: bytes
) -> None:
    install(sandbox, "garble", **{"as": kind})

    answer = pay(http)

    assert bytes in answer.content
    with pytest.raises(ValueError, match=r"codec|control character|Invalid|Expecting"):
        json.loads(answer.content)
    assert charges(sandbox) == 1


def test_an_endless_body_ends_with_its_client(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "endless_body", bytes=1000)

    with http.stream("POST", INTENTS, data=payment()) as answer:
        assert "Content-Length" not in answer.headers
        pieces = answer.iter_raw()
        read = b"".join(next(pieces) for _ in range(50))

    assert json.loads(read)["status"] == "succeeded"
    assert len(read) > 10_000
    assert charges(sandbox) == 1
    pid = int(sandbox.health()["pid"])
    until(lambda: idle(pid), 5, what="nothing is sent to a client that has left")
    assert pay(http).status_code == 200


def test_a_huge_body_comes_as_promised(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "huge_body", bytes=3_000_000)
    whole = pay(http)
    install(sandbox, "huge_body")
    with http.stream("GET", "/v1/balance") as promised:
        assert promised.headers["Content-Length"] == str(10 * 1024**3)

    assert len(whole.content) == 3_000_000
    assert whole.json()["status"] == "succeeded"


def test_a_truncated_body(sandbox: Sandbox, http: httpx.Client) -> None:
    install(sandbox, "truncate", bytes=5)

    with pytest.raises(httpx.RemoteProtocolError, match="received 5 bytes"):
        pay(http)

    assert charges(sandbox) == 1


def test_down_for_a_while(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.script([{"do": "drop_before", "for_seconds": 0.3}])

    with pytest.raises(httpx.RemoteProtocolError):
        pay(http)

    def answers() -> bool:
        try:
            return pay(http).status_code == 200
        except httpx.RemoteProtocolError:
            return False

    until(answers)


def test_a_cut_is_not_a_byte_of_answer(sandbox: Sandbox) -> None:
    install(sandbox, "drop_after")
    address = urlsplit(sandbox.url)
    with socket.create_connection((str(address.hostname), address.port or 0)) as line:
        head = ("GET /stripe/v1/balance HTTP/1.1", "Host: x", f"Authorization: Bearer {STRIPE_KEY}")
        line.sendall("\r\n".join((*head, "", "")).encode())
        assert line.recv(1000) == b""


def test_faults_of_one_vendor_leave_the_others_alone(
    sandbox: Sandbox, http: httpx.Client, mail: httpx.Client
) -> None:
    sandbox.script([{"do": "status", "status": 503, "vendor": "sendgrid"}])

    assert pay(http).status_code == 200
    assert mail.post("/v3/mail/send", json={}).status_code == 503
