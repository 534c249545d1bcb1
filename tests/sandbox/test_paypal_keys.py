"""PayPal-Request-Ids, as PayPal keeps them: a repeat gets the latest state, no stored answer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ferryman.testing import Sandbox
from sandbox.state import State
from tests.harness import until
from tests.sandbox.paypal import (
    ASKING,
    ORDERS,
    PAYMENTS,
    PayPal,
    client,
    connected,
    issue,
    order,
    source,
    unit,
    vaulted,
)


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def refunding(capture: str) -> str:
    return f"{PAYMENTS}/captures/{capture}/refund"


def test_a_repeat_is_200_and_the_latest_state(paypal: PayPal, state: State) -> None:
    first, made = paypal.post(ORDERS, order(**ASKING), key="k-1")
    paypal.do("approve", order=made["id"])

    second, again = paypal.post(ORDERS, order(**ASKING), key="k-1")

    assert (first, second) == (201, 200)
    assert (made["status"], again["status"]) == ("PAYER_ACTION_REQUIRED", "APPROVED")
    assert again["id"] == made["id"]
    assert state.effects.totals() == {}


def test_each_write_knows_its_repeat(paypal: PayPal, state: State) -> None:
    _, made = paypal.post(ORDERS, order())
    _, held = paypal.post(ORDERS, order(intent="AUTHORIZE"))

    def twice(path: str, body: Any, key: str) -> Any:
        (first, one), (second, other) = (paypal.post(path, body, key) for _ in range(2))
        assert (first, second) == (201, 200)
        assert one["id"] == other["id"]
        return one["purchase_units"][0]["payments"] if "purchase_units" in one else one

    captured = twice(f"{ORDERS}/{made['id']}/capture", source(), "k-1")["captures"][0]
    authorized = twice(f"{ORDERS}/{held['id']}/authorize", source(), "k-2")["authorizations"][0]
    twice(f"{PAYMENTS}/authorizations/{authorized['id']}/capture", None, "k-3")
    twice(refunding(captured["id"]), None, "k-4")

    assert state.effects.totals() == {"paypal": {"authorization": 1, "charge": 2, "refund": 1}}


def test_a_repeated_refund_is_told_with_its_new_status(paypal: PayPal) -> None:
    made = paypal.paid()
    paypal.do("settings", pending_refunds=True)
    _, waiting = paypal.post(refunding(made["id"]), None, "k-1")
    paypal.do("settle", id=waiting["id"], succeeds=False)

    status, again = paypal.post(refunding(made["id"]), None, "k-1")

    assert (status, waiting["status"], again["status"]) == (200, "PENDING", "FAILED")
    assert again["id"] == waiting["id"]


def test_without_an_id_every_post_is_a_new_operation(paypal: PayPal, state: State) -> None:
    made = paypal.paid()
    part = {"amount": {"currency_code": "USD", "value": "1.00"}}

    assert [paypal.post(refunding(made["id"]), part)[0] for _ in range(2)] == [201, 201]
    assert len({paypal.post(ORDERS, order())[1]["id"] for _ in range(2)}) == 2
    assert state.effects.totals() == {"paypal": {"charge": 1, "refund": 2}}


def test_another_body_gets_what_the_first_one_made(paypal: PayPal, state: State) -> None:
    _, made = paypal.post(ORDERS, vaulted(), key="k-1")
    status, again = paypal.post(ORDERS, vaulted(purchase_units=[unit("99.00")]), key="k-1")

    assert (status, again["id"]) == (200, made["id"])
    assert again["purchase_units"][0]["amount"]["value"] == "12.50"
    assert state.effects.totals() == {"paypal": {"charge": 1}}


def test_another_address_is_refused(paypal: PayPal, state: State) -> None:
    _, made = paypal.post(ORDERS, order(), key="k-1")

    status, document = paypal.post(f"{ORDERS}/{made['id']}/capture", source(), "k-1")

    assert (status, issue(document)[0]) == (422, "DUPLICATE_REQUEST_ID")
    assert state.effects.totals() == {}


def test_a_repeat_has_its_own_wish_for_the_answer(paypal: PayPal) -> None:
    paypal.call("POST", ORDERS, vaulted(), paypal_request_id="k-1", prefer=None)

    status, whole = paypal.post(ORDERS, vaulted(), "k-1")
    _, small = paypal.call("POST", ORDERS, vaulted(), paypal_request_id="k-1", prefer=None)

    assert (status, "purchase_units" in whole) == (200, True)
    assert set(small) == {"id", "status", "links"}


def test_what_made_nothing_is_not_kept(paypal: PayPal) -> None:
    _, made = paypal.post(ORDERS, order())
    path = f"{ORDERS}/{made['id']}/capture"

    early, _ = paypal.post(path, None, "k-1")
    wrong, _ = paypal.post(path, {"colour": 1}, "k-1")
    paypal.do("approve", order=made["id"])

    assert (early, wrong, paypal.post(path, None, "k-1")[0]) == (422, 400, 201)


@pytest.mark.parametrize(("key", "status"), [("k" * 108, 201), ("k" * 109, 400), ("", 400)])
def test_the_length_of_an_id(paypal: PayPal, key: str, status: int) -> None:
    assert paypal.post(ORDERS, order(), key)[0] == status


def test_orders_and_payments_are_remembered_for_their_own_time(paypal: PayPal) -> None:
    made = paypal.paid()
    part = {"amount": {"currency_code": "USD", "value": "1.00"}}
    again = {ORDERS: order(), refunding(made["id"]): part}
    for path, body in again.items():
        paypal.post(path, body, f"k-{path}")

    def statuses() -> list[int]:
        return [paypal.post(path, body, f"k-{path}")[0] for path, body in again.items()]

    assert statuses() == [200, 200]
    paypal.do("settings", order_key_seconds=0)
    assert statuses() == [201, 200]
    paypal.do("settings", payment_key_seconds=0)
    assert statuses() == [201, 201]
    assert paypal.do("settings")["payment_key_seconds"] == 0


@pytest.mark.parametrize(("forgotten", "orders"), [("k-1", 3), (None, 4), ("k-9", 2)])
def test_time_passes_for_one_id_or_for_all(
    paypal: PayPal, forgotten: str | None, orders: int
) -> None:
    def twice() -> set[str]:
        return {paypal.post(ORDERS, order(), key)[1]["id"] for key in ("k-1", "k-2")}

    before = twice()
    paypal.do("forget_keys", **({} if forgotten is None else {"key": forgotten}))

    assert len(before | twice()) == orders


def test_in_flight_is_a_conflict(paypal: PayPal, state: State) -> None:
    end = paypal.start("POST", ORDERS, vaulted(), paypal_request_id="k-1")
    status, document = paypal.post(ORDERS, vaulted(), "k-1")
    first = end()

    assert (status, document["name"]) == (409, "RESOURCE_CONFLICT")
    assert issue(document)[0] == "PREVIOUS_REQUEST_IN_PROGRESS"
    assert (first.status, paypal.post(ORDERS, vaulted(), "k-1")[0]) == (201, 200)
    assert state.effects.totals() == {"paypal": {"charge": 1}}


@pytest.mark.parametrize("action", ["refund", "void"])
def test_a_capture_is_refunded_and_a_hold_let_go_one_at_a_time(paypal: PayPal, action: str) -> None:
    if action == "refund":
        path = refunding(paypal.paid()["id"])
    else:
        path = f"{PAYMENTS}/authorizations/{paypal.held()['id']}/void"
    end = paypal.start("POST", path, paypal_request_id="k-1")
    status, document = paypal.post(path, None, "k-2")
    end()

    assert (status, issue(document)[0]) == (409, "PREVIOUS_REQUEST_IN_PROGRESS")
    assert paypal.post(path, None, "k-2")[0] == 422


def test_a_void_has_no_repeat(paypal: PayPal) -> None:
    path = f"{PAYMENTS}/authorizations/{paypal.held()['id']}/void"

    assert [paypal.post(path, None, "k-1")[0] for _ in range(2)] == [200, 422]


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with client(sandbox) as connection:
        yield connection


def send(http: httpx.Client) -> httpx.Response:
    return http.post(ORDERS, json=vaulted(), headers={"PayPal-Request-Id": "k-1"})


def test_latency_keeps_an_id_in_flight(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.script([{"do": "latency", "seconds": 0.5, "path": ORDERS, "when": {"nth": [1]}}])
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send, http)
        until(lambda: any(seen["path"] == ORDERS for seen in sandbox.requests("paypal")))
        assert send(http).status_code == 409
        assert first.result().status_code == 201

    assert send(http).status_code == 200
    assert sandbox.totals() == {"paypal": {"charge": 1}}


@pytest.mark.parametrize(
    ("do", "second"), [("error_after", 200), ("error_before", 201), ("drop_after", 200)]
)
def test_an_error_is_not_kept_but_what_was_made_is(
    sandbox: Sandbox, http: httpx.Client, do: str, second: int
) -> None:
    sandbox.script([{"do": do, "path": ORDERS, "when": {"first": 1}}])
    try:
        first = send(http).status_code
    except httpx.TransportError:
        first = 0
    again = send(http)

    assert (first, again.status_code) == (0 if do == "drop_after" else 500, second)
    assert again.json()["status"] == "COMPLETED"
    assert sandbox.totals() == {"paypal": {"charge": 1}}
    assert [effect["key"] for effect in sandbox.effects()] == ["k-1"]


def test_many_refunds_at_once_give_back_no_more_than_was_taken(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    made = send(http).json()["purchase_units"][0]["payments"]["captures"][0]["id"]
    part = {"amount": {"currency_code": "USD", "value": "1.25"}}

    def back(number: int) -> int:
        headers = {"PayPal-Request-Id": f"r-{number}"}
        return http.post(refunding(made), json=part, headers=headers).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(back, range(16)))

    assert sorted(statuses) == [201] * 10 + [422] * 6
    assert sandbox.dashboard("paypal", "balance") == {"usd": 0}
    assert sandbox.totals() == {"paypal": {"charge": 1, "refund": 10}}
