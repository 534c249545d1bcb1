"""Which objects are there? Lists with cursors, single charges and events, the balance."""

from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import Any, Protocol

from sandbox.stripe.account import Account, Call
from sandbox.stripe.errors import missing
from sandbox.stripe.objects import Charge, Event
from sandbox.stripe.shapes import Shape, list_shape, shape

DEFAULT_LIMIT = 10
COMPARE = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


class Listed(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...


def customers(account: Account, call: Call) -> Callable[[], Shape]:
    email = call.given.get("email")
    rows = (r for r in account.customers.newest_first() if email in (None, r.given.get("email")))
    return lambda: page("/v1/customers", rows, call)


def intents(account: Account, call: Call) -> Callable[[], Shape]:
    return lambda: page(
        "/v1/payment_intents", _matching(account.intents.newest_first(), call, "customer"), call
    )


def charges(account: Account, call: Call) -> Callable[[], Shape]:
    names = {"customer": "customer", "payment_intent": "intent"}
    rows = _matching(account.charges.newest_first(), call, **names)
    return lambda: page("/v1/charges", rows, call)


def refunds(account: Account, call: Call) -> Callable[[], Shape]:
    names = {"charge": "charge", "payment_intent": "intent"}
    rows = _matching(account.refunds.newest_first(), call, **names)
    return lambda: page("/v1/refunds", rows, call)


def disputes(account: Account, call: Call) -> Callable[[], Shape]:
    names = {"charge": "charge", "payment_intent": "intent"}
    rows = _matching(account.disputes.newest_first(), call, **names)
    return lambda: page("/v1/disputes", rows, call)


def events(account: Account, call: Call) -> Callable[[], Shape]:
    one, several = call.given.get("type"), call.given.get("types")
    rows = (
        event
        for event in account.events()
        if one in (None, event.type) and (several is None or event.type in several)
    )
    return lambda: page("/v1/events", rows, call)


def charge(account: Account, call: Call) -> Callable[[], Charge]:
    """Raises Refused for an unknown charge."""
    row = account.charge(call.id)
    return lambda: row


def event(account: Account, call: Call) -> Callable[[], Event]:
    """Raises Refused for an unknown event."""
    for row in account.events():
        if row.id == call.id:
            return lambda: row
    raise missing("event", call.id, "id", 404)


def balance(account: Account, call: Call) -> Callable[[], Shape]:
    """What was captured less what was refunded, by currency; Stripe's fees are left out."""

    def work() -> Shape:
        sums = sums_of(account)
        amounts = [_amount(currency, amount) for currency, amount in sorted(sums.items())]
        waiting = [_amount(currency, 0) for currency in sorted(sums)]
        return {
            "object": "balance",
            "available": amounts or [_amount("usd", 0)],
            "livemode": False,
            "pending": waiting or [_amount("usd", 0)],
        }

    return work


def sums_of(account: Account) -> dict[str, int]:
    """By currency: what was captured less what was refunded."""
    sums: dict[str, int] = {}
    for row in account.charges.rows.values():
        rest = row.amount_captured - row.amount_refunded
        sums[row.currency] = sums.get(row.currency, 0) + rest
    return sums


def _amount(currency: str, amount: int) -> Shape:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


def _matching(rows: Iterable[Any], call: Call, *same: str, **other: str) -> Iterable[Any]:
    """The rows whose attributes are as the parameters say."""
    wanted = {
        attribute: call.given[name]
        for name, attribute in ({name: name for name in same} | other).items()
        if name in call.given
    }
    return (row for row in rows if all(getattr(row, a) == value for a, value in wanted.items()))


def page(url: str, rows: Iterable[Listed], call: Call) -> Shape:
    """One page, newest first. Raises Refused for a cursor that is not in the list."""
    found = [row for row in rows if _created_within(row.created, call.given.get("created"))]
    limit = call.given.get("limit", DEFAULT_LIMIT)
    if "ending_before" in call.given:
        end = _place(found, call.given["ending_before"], "ending_before")
        start = max(0, end - limit)
        shown, has_more = found[start:end], start > 0
    else:
        after = call.given.get("starting_after")
        start = 0 if after is None else _place(found, after, "starting_after") + 1
        shown, has_more = found[start : start + limit], len(found) > start + limit
    return list_shape(url, [shape(row) for row in shown], has_more=has_more)


def _place(rows: list[Listed], id: str, param: str) -> int:
    for place, row in enumerate(rows):
        if row.id == id:
            return place
    raise missing("object", id, param)


def _created_within(created: int, bounds: Any) -> bool:
    if bounds is None:
        return True
    if isinstance(bounds, int):
        return created == bounds
    return all(COMPARE[name](created, bound) for name, bound in bounds.items())
