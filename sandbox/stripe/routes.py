"""Which call is meant? Every endpoint of the fake, with what it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.stripe import customers, disputes, intents, lists, refunds, schemas, search
from sandbox.stripe.account import Account, Call
from sandbox.stripe.errors import Refused
from sandbox.stripe.params import Schema
from sandbox.vendor import Request


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a path takes, and the function that finds out what is to be done."""

    schema: Schema
    prepare: Callable[[Account, Call], Callable[[], Any]]
    required: tuple[str, ...] = ()


ENDPOINTS = {
    "POST customers": Endpoint(schemas.CREATE_CUSTOMER, customers.create),
    "GET customers": Endpoint(schemas.LIST_CUSTOMERS, lists.customers),
    "GET customers/search": Endpoint(schemas.SEARCH, search.customers, ("query",)),
    "GET customers/:id": Endpoint(schemas.EXPAND, customers.retrieve),
    "POST customers/:id": Endpoint(schemas.UPDATE_CUSTOMER, customers.update),
    "POST payment_intents": Endpoint(schemas.CREATE_INTENT, intents.create, ("amount", "currency")),
    "GET payment_intents": Endpoint(schemas.LIST_INTENTS, lists.intents),
    "GET payment_intents/search": Endpoint(schemas.SEARCH, search.intents, ("query",)),
    "GET payment_intents/:id": Endpoint(schemas.RETRIEVE_INTENT, intents.retrieve),
    "POST payment_intents/:id/confirm": Endpoint(schemas.CONFIRM_INTENT, intents.confirm),
    "POST payment_intents/:id/capture": Endpoint(schemas.CAPTURE_INTENT, intents.capture),
    "POST payment_intents/:id/cancel": Endpoint(schemas.CANCEL_INTENT, intents.cancel),
    "POST refunds": Endpoint(schemas.CREATE_REFUND, refunds.create),
    "GET refunds": Endpoint(schemas.LIST_REFUNDS, lists.refunds),
    "GET refunds/:id": Endpoint(schemas.EXPAND, refunds.retrieve),
    "GET charges": Endpoint(schemas.LIST_CHARGES, lists.charges),
    "GET charges/search": Endpoint(schemas.SEARCH, search.charges, ("query",)),
    "GET charges/:id": Endpoint(schemas.EXPAND, lists.charge),
    "GET disputes": Endpoint(schemas.LIST_REFUNDS, lists.disputes),
    "GET disputes/:id": Endpoint(schemas.EXPAND, disputes.retrieve),
    "GET balance": Endpoint(schemas.EXPAND, lists.balance),
    "GET events": Endpoint(schemas.LIST_EVENTS, lists.events),
    "GET events/:id": Endpoint(schemas.EXPAND, lists.event),
}


def endpoint_of(request: Request) -> tuple[Endpoint, str]:
    """The endpoint, and the `{id}` of its path. Raises Refused."""
    version, _, path = request.path.lstrip("/").partition("/")
    parts = path.split("/")
    target = ""
    if len(parts) > 1 and parts[1] != "search":
        target, parts[1] = parts[1], ":id"
    found = ENDPOINTS.get(f"{request.method} {'/'.join(parts)}")
    if found is None or version != "v1":
        raise Refused(
            404,
            f"Unrecognized request URL ({request.method}: {request.path}). Please see"
            " https://stripe.com/docs or we can help at https://support.stripe.com/.",
        )
    return found, target
