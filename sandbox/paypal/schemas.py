"""Which fields does each call take? The names, lengths and patterns of PayPal's own contract.

Where this fake does nothing with a nested object it checks only that it is one.
"""

from typing import Any

from sandbox.paypal.forms import Choice, Flag, Many, Structure, Text, Url

Fields = dict[str, Any]

NOT_FAKED = (
    "apple_pay", "bancontact", "blik", "card", "eps", "giropay", "google_pay", "ideal", "mybank",
    "p24", "sofort", "trustly", "venmo",
)  # fmt: skip
"""Payment sources that PayPal knows and this fake does not."""

NOTHING: Fields = {}
MONEY: Fields = {
    "currency_code*": Text(3, 3),
    "value*": Text(0, 32, "^((-?[0-9]+)|(-?([0-9]+)?[.][0-9]+))$"),
}
PARTS = (
    "discount", "handling", "insurance", "item_total", "shipping", "shipping_discount", "tax_total",
)  # fmt: skip
BREAKDOWN: Fields = dict.fromkeys(PARTS, MONEY)
LOCALE = Text(2, 10, "^[a-z]{2}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?$")
SHIPPING_PREFERENCE = Choice(("GET_FROM_FILE", "NO_SHIPPING", "SET_PROVIDED_ADDRESS"))
USER_ACTION = Choice(("CONTINUE", "PAY_NOW"))
TOKEN_PATTERN = "^[0-9a-zA-Z_-]+$"  # noqa: S105 - how the vault's tokens look

UNIT: Fields = {
    "amount*": MONEY | {"breakdown": BREAKDOWN},
    "custom_id": Text(1, 127),
    "description": Text(1, 127),
    "invoice_id": Text(1, 127),
    "items": Many(
        {
            "name*": Text(1, 127),
            "unit_amount*": MONEY,
            "quantity*": Text(0, 10, "^[1-9][0-9]{0,9}$"),
            "category": Choice(("DIGITAL_GOODS", "PHYSICAL_GOODS", "DONATION")),
            "description": Text(0, 127),
            "sku": Text(0, 127),
            "tax": MONEY,
        }
    ),
    "payee": Structure(),
    "payment_instruction": Structure(),
    "reference_id": Text(1, 256),
    "shipping": Structure(),
    "soft_descriptor": Text(1, 22),
    "supplementary_data": Structure(),
}
WALLET: Fields = {
    "address": Structure(),
    "attributes": Structure(),
    "billing_agreement_id": Text(2, 128, "^[a-zA-Z0-9-]+$"),
    "birth_date": Text(10, 10, "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9]|3[0-1])$"),
    "email_address": Text(3, 254),
    "experience_context": {
        "brand_name": Text(1, 127, "^.*$"),
        "cancel_url": Url(),
        "landing_page": Choice(("LOGIN", "GUEST_CHECKOUT", "NO_PREFERENCE")),
        "locale": LOCALE,
        "payment_method_preference": Choice(("UNRESTRICTED", "IMMEDIATE_PAYMENT_REQUIRED")),
        "return_url": Url(),
        "shipping_preference": SHIPPING_PREFERENCE,
        "user_action": USER_ACTION,
    },
    "name": Structure(),
    "phone": Structure(),
    "tax_info": Structure(),
    "vault_id": Text(1, 255, TOKEN_PATTERN),
}
PAYMENT_SOURCE: Fields = {name: Structure() for name in NOT_FAKED} | {
    "paypal": WALLET,
    "token": {"id*": Text(1, 255, TOKEN_PATTERN), "type*": Choice(("BILLING_AGREEMENT",))},
}
CREATE_ORDER: Fields = {
    "application_context": {
        "brand_name": Text(1, 127),
        "cancel_url": Url(),
        "landing_page": Choice(("LOGIN", "BILLING", "NO_PREFERENCE")),
        "locale": LOCALE,
        "payment_method": Structure(),
        "return_url": Url(),
        "shipping_preference": SHIPPING_PREFERENCE,
        "stored_payment_source": Structure(),
        "user_action": USER_ACTION,
    },
    "intent*": Choice(("CAPTURE", "AUTHORIZE")),
    "payer": Structure(),
    "payment_source": PAYMENT_SOURCE,
    "purchase_units*": Many(UNIT, 1, 10),
}
PAY_ORDER: Fields = {"payment_source": PAYMENT_SOURCE}

CAPTURE_AUTHORIZATION: Fields = {
    "amount": MONEY,
    "final_capture": Flag(),
    "invoice_id": Text(1, 127, "^.{1,127}$"),
    "note_to_payer": Text(1, 255, "^.{1,255}$"),
    "payment_instruction": Structure(),
    "soft_descriptor": Text(0, 22),
}
REFUND_CAPTURE: Fields = {
    "amount": MONEY,
    "custom_id": Text(1, 127, "^.*$"),
    "invoice_id": Text(1, 127, "^.*$"),
    "note_to_payer": Text(1, 255, "^.*$"),
    "payment_instruction": Structure(),
}
VERIFY_WEBHOOK: Fields = {
    "auth_algo*": Text(0, 100, "^[a-zA-Z0-9]+$"),
    "cert_url*": Url(),
    "transmission_id*": Text(0, 50, r"^(?!\d+$)\w+\S+"),
    # The published pattern would refuse a signature that begins with + or /, as many do.
    "transmission_sig*": Text(0, 500),
    "transmission_time*": Text(0, 100),
    "webhook_id*": Text(0, 50, "^[a-zA-Z0-9]+$"),
    "webhook_event*": Structure(),
}
