"""Which objects does a search query find? Stripe's query language, as far as people use it.

Clauses such as `status:'succeeded'`, `amount>1000`, `metadata['job']:'7'`, `-currency:'eur'`,
joined by AND or by OR, never both. Facts: https://docs.stripe.com/search
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sandbox.stripe.account import Account, Call
from sandbox.stripe.errors import Refused
from sandbox.stripe.shapes import Shape, shape

CLAUSE = re.compile(
    r"""(?P<no>-)?(?P<field>[a-z_]+)(\[(['"])(?P<key>.*?)\4\])?"""
    r"""(?P<operator>:|~|>=|<=|>|<)(?P<quote>['"]?)(?P<value>(?:\\.|[^\\])*?)(?P=quote)""",
    re.X,
)
JOINED = re.compile(r"\s+(?:AND|OR)\s+")
INTENT_FIELDS = {"amount", "created", "currency", "customer", "metadata", "status"}
CUSTOMER_FIELDS = {"created", "email", "metadata", "name", "phone"}
CHARGE_FIELDS = {"amount", "created", "currency", "customer", "disputed", "metadata", "status"}
NUMBERS = {"amount", "created"}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    ":": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
Test = Callable[[Shape], bool]


class Found(Protocol):
    @property
    def created(self) -> int: ...


def intents(account: Account, call: Call) -> Callable[[], Shape]:
    """Raises Refused for a query that cannot be read."""
    return _search(account, call, "payment_intents", INTENT_FIELDS, account.intents.newest_first())


def customers(account: Account, call: Call) -> Callable[[], Shape]:
    """Raises Refused for a query that cannot be read."""
    return _search(account, call, "customers", CUSTOMER_FIELDS, account.customers.newest_first())


def charges(account: Account, call: Call) -> Callable[[], Shape]:
    """Raises Refused for a query that cannot be read."""
    return _search(account, call, "charges", CHARGE_FIELDS, account.charges.newest_first())


def _search(
    account: Account, call: Call, name: str, fields: set[str], rows: Iterable[Found]
) -> Callable[[], Shape]:
    test = parse(call.given["query"], fields)
    indexed = account.now() - account.settings.search_lag
    start = _start(call.given.get("page"))
    limit = call.given.get("limit", 10)

    def work() -> Shape:
        shapes = (shape(row) for row in rows if row.created <= indexed)
        found = [one for one in shapes if test(one)]
        more = len(found) > start + limit
        return {
            "object": "search_result",
            "data": found[start : start + limit],
            "has_more": more,
            "next_page": f"page_{start + limit}" if more else None,
            "url": f"/v1/{name}/search",
        }

    return work


def _start(page: str | None) -> int:
    if page is None:
        return 0
    number = page.removeprefix("page_")
    if not number.isdecimal():
        raise Refused(400, f"Invalid page token: {page}", param="page")
    return int(number)


def parse(query: str, fields: set[str]) -> Test:
    """The test that an object's shape has to pass. Raises Refused."""
    joints = {joint.strip() for joint in re.findall(r"\s+(?:AND|OR)\s+", query)}
    if len(joints) > 1:
        raise _unreadable("AND and OR cannot be used in one query")
    tests = [_clause(part.strip(), fields) for part in JOINED.split(query)]
    if joints == {"OR"}:
        return lambda one: any(test(one) for test in tests)
    return lambda one: all(test(one) for test in tests)


def _clause(text: str, fields: set[str]) -> Test:
    match = CLAUSE.fullmatch(text)
    if match is None:
        raise _unreadable(f"unable to parse {text!r}")
    name, key, operator = match["field"], match["key"], match["operator"]
    if name not in fields or (name == "metadata") != (key is not None):
        raise _unreadable(f"{name} is not a searchable field")
    test = _test(name, operator, match["value"].replace("\\", ""))
    wanted = not match["no"]
    return lambda one: test(one[name].get(key) if key is not None else one[name]) == wanted


def _test(name: str, operator: str, value: str) -> Callable[[Any], bool]:
    if name in NUMBERS:
        if not value.isdecimal() or operator not in COMPARE:
            raise _unreadable(f"{name} takes a number")
        compare, number = COMPARE[operator], int(value)
        return lambda has: compare(has, number)
    if operator == ":":
        return lambda has: str(has).lower() == value.lower()
    if operator == "~":
        return lambda has: value.lower() in str(has).lower()
    raise _unreadable(f"{operator} is for numbers")


def _unreadable(why: str) -> Refused:
    return Refused(400, f"We were unable to parse your search query: {why}.", param="query")
