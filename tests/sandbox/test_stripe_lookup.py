"""What a look-up asks: lists that show at once what took effect, page by page."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sandbox.conftest import Direct, payment

INTENTS = "/v1/payment_intents"


def customer(direct: Direct) -> str:
    return str(direct.form("POST", "/v1/customers", {"email": "a@example.com"})[1]["id"])


def pay(direct: Direct, job: str, **changes: Any) -> dict[str, Any]:
    _, answer = direct.form("POST", INTENTS, payment(**changes, **{"metadata[job]": job}))
    return dict(answer)


def listed(direct: Direct, path: str, **query: Any) -> tuple[list[Any], bool]:
    status, answer = direct.form("GET", path, query)
    assert (status, answer["object"]) == (200, "list")
    return answer["data"], answer["has_more"]


def test_the_payments_of_a_customer_page_by_page(direct: Direct) -> None:
    one, other = customer(direct), customer(direct)
    for number in range(5):
        pay(direct, f"job-{number}", customer=one)
    pay(direct, "another", customer=other)

    query = {"customer": one, "created[gte]": int(time.time()) - 60, "limit": 2}
    seen: list[str] = []
    after: dict[str, str] = {}
    more = True
    while more:
        rows, more = listed(direct, INTENTS, **query, **after)
        seen += [row["metadata"]["job"] for row in rows]
        after = {"starting_after": rows[-1]["id"]}

    assert seen == ["job-4", "job-3", "job-2", "job-1", "job-0"]


def test_a_payment_is_listed_by_when_it_was_made(direct: Direct) -> None:
    made = pay(direct, "job-1", customer=customer(direct))
    created = made["created"]

    def count(**bounds: int) -> int:
        return len(
            listed(direct, INTENTS, **{f"created[{name}]": at for name, at in bounds.items()})[0]
        )

    assert (count(gte=created), count(gt=created), count(lt=created, gte=0)) == (1, 0, 0)


def test_a_lag_of_search_is_none_of_lists(direct: Direct) -> None:
    direct.vendor.dashboard("settings", {"search_lag": 60})
    pay(direct, "job-1")

    assert len(listed(direct, INTENTS)[0]) == 1
    assert direct.form("GET", f"{INTENTS}/search", {"query": "status:'succeeded'"})[1]["data"] == []


def test_a_declined_payment_is_listed_as_one_that_took_no_money(direct: Direct) -> None:
    pay(direct, "job-1", payment_method="pm_card_chargeDeclined")

    ((row,), _) = listed(direct, INTENTS)

    assert (row["status"], row["amount_received"]) == ("requires_payment_method", 0)
    assert (row["metadata"], row["last_payment_error"]["code"]) == (
        {"job": "job-1"},
        "card_declined",
    )


def test_the_refunds_of_a_payment(direct: Direct) -> None:
    first, second = pay(direct, "job-1"), pay(direct, "job-2")
    for intent, amount in ((first, 100), (first, 200), (second, 300)):
        given = {"payment_intent": intent["id"], "amount": amount, "metadata[job]": f"r-{amount}"}
        direct.form("POST", "/v1/refunds", given)

    rows, more = listed(direct, "/v1/refunds", payment_intent=first["id"], limit=100)

    assert [(row["amount"], row["metadata"]["job"]) for row in rows] == [
        (200, "r-200"),
        (100, "r-100"),
    ]
    assert not more


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 101}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"created[gte]": "yesterday"}, "created"),
        ({"created[since]": 1}, "created"),
        ({"starting_after": "pi_none"}, "starting_after"),
        ({"job": "job-1"}, "job"),
    ],
)
def test_a_query_that_the_contract_does_not_know(
    direct: Direct, query: dict[str, Any], param: str
) -> None:
    status, answer = direct.form("GET", INTENTS, query)

    assert status == 400
    assert answer["error"]["param"] == param
