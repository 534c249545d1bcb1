"""How does a payer's wallet behave? Test tokens of the vault, told apart by how they begin.

`vault_ok`, `vault_ok_anything` and so on; anything else is a token that PayPal does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.paypal.errors import invalid, unprocessable
from sandbox.paypal.schemas import NOT_FAKED


@dataclass(frozen=True, slots=True)
class Wallet:
    """`issue`: why nothing is done at all (422). Else the status of what is made: a capture that
    is DECLINED stands in an order that is COMPLETED."""

    issue: str | None = None
    capture: str = "COMPLETED"
    authorization: str = "CREATED"


WALLETS = {
    "vault_ok": Wallet(),
    "vault_pending": Wallet(capture="PENDING", authorization="PENDING"),
    "vault_bounces": Wallet(capture="DECLINED", authorization="DENIED"),
    "vault_declined": Wallet("INSTRUMENT_DECLINED"),
    "vault_asks": Wallet("PAYER_ACTION_REQUIRED"),
    "vault_cannot_pay": Wallet("PAYER_CANNOT_PAY"),
    "vault_locked": Wallet("PAYER_ACCOUNT_LOCKED_OR_CLOSED"),
    "vault_refused": Wallet("TRANSACTION_REFUSED"),
}


def known(token: str) -> str | None:
    """The beginning that says how a token behaves; None: there is no such token."""
    whole = token.replace("-", "_")
    names = (name for name in WALLETS if whole == name or whole.startswith(f"{name}_"))
    return next(names, None)


def behaviour(token: str, others: Mapping[str, str]) -> Wallet:
    """How a known token behaves today; `others` are those that now behave like another."""
    return WALLETS[others.get(token) or known(token) or token]


def token_of(source: Mapping[str, Any] | None) -> str | None:
    """The token that a payment source holds; None where its payer has to approve.

    Raises Refused for a source this fake does not know, and for an unknown token."""
    if source is None:
        return None
    for name in source:
        if name in NOT_FAKED:
            raise invalid("NOT_SUPPORTED", f"/payment_source/{name}")
    if len(source) != 1:
        raise invalid("INVALID_PARAMETER_VALUE", "/payment_source")
    if "token" in source:
        return _found(source["token"]["id"], "/payment_source/token/id")
    wallet = source["paypal"]
    for name in ("vault_id", "billing_agreement_id"):
        if name in wallet:
            return _found(wallet[name], f"/payment_source/paypal/{name}")
    return None


def _found(token: str, field: str) -> str:
    if known(token) is not None:
        return token
    vaulted = field.endswith("vault_id")
    raise unprocessable(
        "TOKEN_ID_NOT_FOUND" if vaulted else "BILLING_AGREEMENT_NOT_FOUND", field, token
    )
