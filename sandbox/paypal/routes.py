"""Which call is meant? Every endpoint of the fake, with what it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.paypal import authorizations, disputes, events, orders, refunds, schemas
from sandbox.paypal.account import Account, Call
from sandbox.paypal.errors import refused
from sandbox.vendor import Request

Prepare = Callable[[Account, Call], Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a path takes, and the function that finds out what is to be done.

    `keyed`: a PayPal-Request-Id means something here; `alone`: one request at a time; `status` of
    the first answer: where that is 204, a whole object comes with 200."""

    prepare: Prepare
    takes: schemas.Fields
    status: int = 200
    keyed: bool = False
    alone: bool = False


def _post(prepare: Prepare, takes: schemas.Fields) -> Endpoint:
    return Endpoint(prepare, takes, 201, keyed=True)


def _get(prepare: Prepare) -> Endpoint:
    return Endpoint(prepare, schemas.NOTHING)


ORDERS = "v2/checkout/orders"
PAYMENTS = "v2/payments"
ENDPOINTS = {
    f"POST {ORDERS}": _post(orders.create, schemas.CREATE_ORDER),
    f"GET {ORDERS}/:id": _get(orders.retrieve),
    f"POST {ORDERS}/:id/capture": _post(orders.capture, schemas.PAY_ORDER),
    f"POST {ORDERS}/:id/authorize": _post(orders.authorize, schemas.PAY_ORDER),
    f"GET {PAYMENTS}/authorizations/:id": _get(authorizations.retrieve),
    f"POST {PAYMENTS}/authorizations/:id/capture": _post(
        authorizations.capture, schemas.CAPTURE_AUTHORIZATION
    ),
    # The contract knows no PayPal-Request-Id here: a second void finds the first one's work.
    f"POST {PAYMENTS}/authorizations/:id/void": Endpoint(
        authorizations.void, schemas.NOTHING, 204, alone=True
    ),
    f"GET {PAYMENTS}/captures/:id": _get(authorizations.retrieve_capture),
    f"POST {PAYMENTS}/captures/:id/refund": Endpoint(
        refunds.create, schemas.REFUND_CAPTURE, 201, keyed=True, alone=True
    ),
    f"GET {PAYMENTS}/refunds/:id": _get(refunds.retrieve),
    "GET v1/notifications/webhooks-events": _get(events.listed),
    "GET v1/notifications/webhooks-events/:id": _get(events.retrieve),
    "GET v1/customer/disputes": _get(disputes.listed),
    "GET v1/customer/disputes/:id": _get(disputes.retrieve),
}
QUERIES = {
    f"GET {ORDERS}/:id": frozenset(("fields",)),
    "GET v1/notifications/webhooks-events": events.QUERY,
    "GET v1/customer/disputes": frozenset(("disputed_transaction_id",)),
}
"""What may stand in the query; elsewhere nothing may."""
PLACE_OF_ID = 3


def endpoint_of(request: Request) -> tuple[str, str]:
    """The endpoint's name, and the `{id}` of its path. Raises Refused."""
    parts = request.path.strip("/").split("/")
    target = ""
    if len(parts) > PLACE_OF_ID:
        target, parts[PLACE_OF_ID] = parts[PLACE_OF_ID], ":id"
    name = f"{request.method} {'/'.join(parts)}"
    if name not in ENDPOINTS:
        unknown = refused(404)
        unknown.document["message"] += f" This sandbox has no {request.method} {request.path}."
        raise unknown
    return name, target
