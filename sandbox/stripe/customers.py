"""Customers: create, update, retrieve."""

from collections.abc import Callable

from sandbox.stripe.account import Account, Call, merged
from sandbox.stripe.cards import known
from sandbox.stripe.errors import Refused
from sandbox.stripe.objects import Customer


def create(account: Account, call: Call) -> Callable[[], Customer]:
    """Raises Refused for a payment method that does not exist."""
    _check(call)

    def work() -> Customer:
        given = dict(call.given)
        metadata = merged({}, given.pop("metadata", {}))
        row = Customer(account.ids.new("cus_", 14), account.now(), given, metadata)
        account.customers.put(row)
        account.record("customer", row.id, call, email=given.get("email"), metadata=row.metadata)
        account.tell(call, "customer.created", row)
        return row

    return work


def update(account: Account, call: Call) -> Callable[[], Customer]:
    """Raises Refused for an unknown customer."""
    row = account.customer(call.id, "id", 404)
    _check(call)

    def work() -> Customer:
        given = dict(call.given)
        row.metadata = merged(row.metadata, given.pop("metadata", {}))
        row.given |= given
        account.customers.put(row)
        account.tell(call, "customer.updated", row)
        return row

    return work


def retrieve(account: Account, call: Call) -> Callable[[], Customer]:
    """Raises Refused for an unknown customer."""
    row = account.customer(call.id, "id", 404)
    return lambda: row


def _check(call: Call) -> None:
    if "payment_method" in call.given:
        known(call.given["payment_method"])
    email = call.given.get("email")
    if email is not None and "@" not in email:
        raise Refused(400, f"Invalid email address: {email}", code="email_invalid", param="email")
