"""Idempotency keys, as Stripe keeps them: what is replayed, what is refused, what is not kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from ferryman.testing import Sandbox
from sandbox.state import State
from sandbox.vendor import Answer, Request
from tests.harness import until
from tests.sandbox.conftest import FORM, Direct, payment

INTENTS = "/v1/payment_intents"


def post(direct: Direct, given: dict[str, Any], key: str = "k-1", path: str = INTENTS) -> Answer:
    """As the gateway does it: what was worked on is closed under its key."""
    outcome = direct.open("POST", path, urlencode(given), idempotency_key=key)
    if isinstance(outcome, Answer):
        return outcome
    answer: Answer = outcome()
    close(direct, key, path, answer)
    return answer


def close(direct: Direct, key: str, path: str, answer: Answer) -> None:
    request = Request("stripe", "POST", path, "", {"idempotency-key": key}, b"")
    direct.vendor.close(request, answer)


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_same_key_and_parameters_get_the_same_answer(direct: Direct, state: State) -> None:
    first = post(direct, payment())
    second = post(direct, payment())

    assert (first.status, second.status) == (200, 200)
    assert (replayed(first), replayed(second)) == (False, True)
    assert second.body == first.body
    assert second.headers["Original-Request"] == first.headers["Request-Id"]
    assert state.effects.totals() == {"stripe": {"charge": 1}}


def test_the_order_of_parameters_does_not_matter(direct: Direct) -> None:
    post(direct, payment())

    assert replayed(post(direct, dict(reversed(payment().items()))))


def test_other_parameters_or_another_path_are_an_error(direct: Direct, state: State) -> None:
    post(direct, payment())

    for answer in (
        post(direct, payment(amount=1251)),
        post(direct, payment(), path="/v1/customers"),
    ):
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["type"] == "idempotency_error"
    assert state.effects.totals() == {"stripe": {"charge": 1}}


def test_a_validation_error_is_not_kept(direct: Direct) -> None:
    assert post(direct, payment(amount=1)).status == 400

    assert post(direct, payment()).status == 200


def test_a_decline_is_kept_even_when_the_card_is_mended(direct: Direct) -> None:
    given = payment(payment_method="pm_card_chargeDeclined")
    first = post(direct, given)
    direct.vendor.dashboard("card", {"payment_method": "pm_card_chargeDeclined"})

    second = post(direct, given)

    assert (first.status, second.status, replayed(second)) == (402, 402, True)
    assert post(direct, given, key="k-2").status == 200


def test_a_key_is_forgotten_after_its_time(direct: Direct, state: State) -> None:
    post(direct, payment())
    direct.vendor.dashboard("settings", {"key_seconds": 0})

    assert not replayed(post(direct, payment()))
    assert state.effects.totals() == {"stripe": {"charge": 2}}


@pytest.mark.parametrize(("forgotten", "charges"), [("k-1", 3), (None, 4), ("k-9", 2)])
def test_a_day_passes_for_one_key_or_for_all(
    direct: Direct, state: State, forgotten: str | None, charges: int
) -> None:
    for key in ("k-1", "k-2"):
        post(direct, payment(), key)

    named = {} if forgotten is None else {"key": forgotten}
    direct.vendor.dashboard("forget_keys", named)
    for key in ("k-1", "k-2"):
        post(direct, payment(), key)

    assert state.effects.totals() == {"stripe": {"charge": charges}}


def test_a_key_of_256_characters_is_refused(direct: Direct) -> None:
    assert post(direct, payment(), key="k" * 255).status == 200
    assert post(direct, payment(), key="k" * 256).status == 400


def test_a_get_ignores_the_key(direct: Direct) -> None:
    for _ in range(2):
        answer = direct.ask("GET", "/v1/balance", idempotency_key="k-1")
        assert (answer.status, replayed(answer)) == (200, False)


def test_in_flight_is_a_conflict_that_is_not_kept(direct: Direct, state: State) -> None:
    body = urlencode(payment())
    work = direct.open("POST", INTENTS, body, idempotency_key="k-1")

    conflict = post(direct, payment())
    other = post(direct, payment(amount=1251))
    first = work()
    close(direct, "k-1", INTENTS, first)

    assert (conflict.status, other.status, first.status) == (409, 400, 200)
    assert json.loads(conflict.body)["error"]["code"] == "idempotency_key_in_use"
    assert replayed(post(direct, payment()))
    assert state.effects.totals() == {"stripe": {"charge": 1}}


def test_latency_keeps_a_key_in_flight(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.script([{"do": "latency", "seconds": 0.8, "when": {"nth": [1]}}])
    send = sender(http)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send)
        until(sandbox.requests)
        assert send().status_code == 409
        assert first.result().status_code == 200

    assert send().headers["Idempotent-Replayed"] == "true"
    assert sandbox.totals() == {"stripe": {"charge": 1}}


@pytest.mark.parametrize("status", [500, 502])
def test_an_error_after_the_effect_is_kept(
    sandbox: Sandbox, http: httpx.Client, status: int
) -> None:
    sandbox.script([{"do": "error_after", "status": status, "when": {"first": 1}}])
    send = sender(http)

    first, second = send(), send()

    assert (first.status_code, second.status_code) == (status, status)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.content == first.content
    assert sandbox.totals() == {"stripe": {"charge": 1}}


@pytest.mark.parametrize(
    "rule",
    [{"do": "throttle"}, {"do": "status", "status": 500}, {"do": "status", "status": 409}],
)
def test_what_never_reached_the_vendor_is_not_kept(
    sandbox: Sandbox, http: httpx.Client, rule: dict[str, Any]
) -> None:
    sandbox.script([{**rule, "when": {"first": 1}}])
    send = sender(http)

    first, second = send(), send()

    assert first.status_code != 200
    assert second.status_code == 200
    assert "Idempotent-Replayed" not in second.headers


def sender(http: httpx.Client) -> Callable[[], httpx.Response]:
    body = urlencode(payment())
    headers = {"Content-Type": FORM, "Idempotency-Key": "k-1"}
    return lambda: http.post(INTENTS, content=body, headers=headers)
