"""What does `expand` put in the place of an id? Facts: https://docs.stripe.com/expand"""

from collections.abc import Callable
from typing import Any

from sandbox.stripe.account import Account
from sandbox.stripe.errors import Refused
from sandbox.stripe.methods import payment_method_shape
from sandbox.stripe.shapes import Shape, list_shape, shape

DEEPEST = 4


def check_paths(paths: list[str]) -> None:
    """Raises Refused for what no object here has, so that nothing is done before it is said."""
    known = {name for _, name in EXPANDABLE} | {"data"}
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEEPEST:
            raise Refused(400, f"You cannot expand more than {DEEPEST} levels: {path}")
        if not known.issuperset(parts):
            raise _impossible(path)


def expand(account: Account, document: Shape, paths: list[str]) -> Shape:
    """The document with the named properties expanded. Raises Refused for others."""
    for path in paths:
        _walk(account, document, path.split("."), path)
    return document


def _walk(account: Account, node: Any, parts: list[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _walk(account, item, parts, path)
        return
    if not parts or node is None:
        return
    name, *rest = parts
    if not isinstance(node.get(name), dict | list):
        node[name] = _expanded(account, node, name, path)
    _walk(account, node[name], rest, path)


def _expanded(account: Account, node: Shape, name: str, path: str) -> Any:
    lookup = EXPANDABLE.get((node.get("object", ""), name))
    if lookup is None:
        raise _impossible(path)
    return lookup(account, node)


def _impossible(path: str) -> Refused:
    return Refused(400, f"This property cannot be expanded ({path}).", param="expand")


def _customer(account: Account, node: Shape) -> Any:
    row = account.customers.get(node["customer"] or "")
    return row and shape(row)


def _intent(account: Account, node: Shape) -> Any:
    return shape(account.intent(node["payment_intent"]))


def _charge(name: str) -> Callable[[Account, Shape], Any]:
    def lookup(account: Account, node: Shape) -> Any:
        row = account.charges.get(node[name] or "")
        return row and shape(row)

    return lookup


def _payment_method(account: Account, node: Shape) -> Any:
    row = account.intents.get(node["id"])
    if row is None or row.card is None or row.payment_method is None:
        return None
    return payment_method_shape(row.payment_method, row.card, row.customer, row.created)


def _refunds(account: Account, node: Shape) -> Any:
    rows = [row for row in account.refunds.newest_first() if row.charge == node["id"]]
    return list_shape(
        f"/v1/charges/{node['id']}/refunds",
        [shape(row) for row in rows[:10]],
        has_more=len(rows) > 10,
    )


EXPANDABLE: dict[tuple[str, str], Callable[[Account, Shape], Any]] = {
    ("payment_intent", "customer"): _customer,
    ("payment_intent", "latest_charge"): _charge("latest_charge"),
    ("payment_intent", "payment_method"): _payment_method,
    ("charge", "customer"): _customer,
    ("charge", "payment_intent"): _intent,
    ("charge", "refunds"): _refunds,
    ("dispute", "charge"): _charge("charge"),
    ("dispute", "payment_intent"): _intent,
    ("refund", "charge"): _charge("charge"),
    ("refund", "payment_intent"): _intent,
}
