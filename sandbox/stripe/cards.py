"""How does a test payment method behave? Facts: https://docs.stripe.com/testing and, for bank
accounts, https://docs.stripe.com/payments/ach-direct-debit/accept-a-payment#test-account-numbers"""

from dataclasses import dataclass
from typing import Literal

from sandbox.stripe.errors import Refused

Behaviour = Literal["succeeds", "declines", "asks", "waits"]
BEGIN = "pm_card_"
BANK = "pm_usBankAccount_"
AUTHENTICATION = "Your card was declined. This transaction requires authentication."


@dataclass(frozen=True, slots=True)
class Card:
    """`code` and `decline_code` are what a declined payment is answered with; of a bank account,
    which answers days later, `code` is why it fails then. `refunds`: how its refunds begin."""

    behaviour: Behaviour
    code: str = ""
    decline_code: str = ""
    message: str = ""
    refunds: str = "succeeded"
    disputed: bool = False


def _declined(decline_code: str, message: str = "Your card was declined.") -> Card:
    return Card("declines", "card_declined", decline_code, message)


def _failing(code: str, message: str) -> Card:
    return Card("waits", code, message=message)


SUCCEEDS = Card("succeeds")
ASKS = Card("asks", "authentication_required", "authentication_required", AUTHENTICATION)
INSUFFICIENT_FUNDS = "Your card has insufficient funds."
INCORRECT_CVC = "Your card's security code is incorrect."
PROCESSING = "An error occurred while processing your card. Try again in a little bit."

BRANDS = """
    visa visa_debit mastercard mastercard_debit mastercard_prepaid amex discover diners jcb unionpay
    us gb de fr
"""
CARDS = {BEGIN + brand: SUCCEEDS for brand in BRANDS.split()}
DECLINES = {
    "": _declined("generic_decline"),
    "InsufficientFunds": _declined("insufficient_funds", INSUFFICIENT_FUNDS),
    "LostCard": _declined("lost_card"),
    "StolenCard": _declined("stolen_card"),
    "VelocityLimitExceeded": _declined("card_velocity_exceeded"),
    "Fraudulent": _declined("fraudulent"),
    "ExpiredCard": Card("declines", "expired_card", "expired_card", "Your card has expired."),
    "IncorrectCvc": Card("declines", "incorrect_cvc", "incorrect_cvc", INCORRECT_CVC),
    "ProcessingError": Card("declines", "processing_error", "processing_error", PROCESSING),
}
# Stripe has both spellings, for some cards the one and for some the other.
for _name, _card in DECLINES.items():
    CARDS[f"{BEGIN}chargeDeclined{_name}"] = _card
    CARDS[f"{BEGIN}visa_chargeDeclined{_name}"] = _card
CARDS[BEGIN + "chargeCustomerFail"] = _declined("generic_decline")
for _name in ("authenticationRequired", "threeDSecureRequired", "threeDSecure2Required"):
    CARDS[BEGIN + _name] = ASKS
CARDS[BEGIN + "pendingRefund"] = Card("succeeds", refunds="pending")
# Begins as a success, too: the dashboard's `fail_refund` makes it fail.
CARDS[BEGIN + "refundFail"] = SUCCEEDS
CARDS[BEGIN + "createDispute"] = Card("succeeds", disputed=True)

BANKS = {
    "success": Card("waits"),
    "processing": Card("waits"),
    "accountClosed": _failing("account_closed", "The bank account has been closed."),
    "noAccount": _failing("no_account", "The bank account could not be located."),
    "insufficientFunds": _failing("insufficient_funds", "The account has insufficient funds."),
    "debitNotAuthorized": _failing("debit_not_authorized", "Debits are not authorized."),
}
CARDS |= {BANK + _name: _bank for _name, _bank in BANKS.items()}


def known(token: str, param: str = "payment_method") -> str:
    """The token, if there is such a test payment method. Raises Refused."""
    if token not in CARDS:
        raise Refused(
            400, f"No such PaymentMethod: '{token}'", code="resource_missing", param=param
        )
    return token
