"""Which parameters does each call take? The names, types and lengths of Stripe's own contract.

Where this fake does nothing with a nested parameter it checks only that it is one.
"""

from sandbox.stripe.money import currency
from sandbox.stripe.params import (
    Schema,
    choice,
    either,
    fields,
    flag,
    integer,
    listing,
    metadata,
    structure,
    text,
    unsettable,
)

UNLOOKED_AT = unsettable(structure)
OFF_SESSION = either(flag, choice("one_off", "recurring"))
CAPTURE_METHOD = choice("automatic", "automatic_async", "manual")
FUTURE_USAGE = choice("off_session", "on_session")
TYPES = listing(text())
EXPAND: Schema = {"expand": TYPES}
PAGE: Schema = EXPAND | {
    "created": either(fields({name: integer() for name in ("gt", "gte", "lt", "lte")}), integer()),
    "ending_before": text(),
    "limit": integer(1, 100),
    "starting_after": text(),
}
SEARCH: Schema = EXPAND | {"limit": integer(1, 100), "page": text(), "query": text()}
ADDRESS = fields({n: text() for n in ["city", "country", "line1", "line2", "postal_code", "state"]})
_TO: Schema = {"address": ADDRESS, "name": text(), "phone": text()}
RECIPIENT = fields(_TO, required=("address", "name"))
SHIPPING = fields(
    _TO | {"carrier": text(), "tracking_number": text()}, required=("address", "name")
)

CUSTOMER: Schema = EXPAND | {
    "address": unsettable(ADDRESS),
    "balance": integer(),
    "business_name": unsettable(text()),
    "cash_balance": structure,
    "description": text(),
    "email": text(512),
    "individual_name": unsettable(text()),
    "invoice_prefix": text(),
    "invoice_settings": structure,
    "metadata": unsettable(metadata),
    "name": text(256),
    "next_invoice_sequence": integer(),
    "phone": text(20),
    "preferred_locales": TYPES,
    "shipping": unsettable(RECIPIENT),
    "source": text(),
    "tax": structure,
    "tax_exempt": unsettable(choice("exempt", "none", "reverse")),
    "validate": flag,
}
CREATE_CUSTOMER: Schema = CUSTOMER | {
    "payment_method": text(),
    "tax_id_data": listing(fields({"type": text(), "value": text()}, ("type", "value"))),
    "test_clock": text(),
}
UPDATE_CUSTOMER: Schema = CUSTOMER | {"default_source": text(500)}
LIST_CUSTOMERS: Schema = PAGE | {"email": text(512), "test_clock": text()}

_PAYMENT: Schema = EXPAND | {
    "allowed_payment_method_types": TYPES,
    "capture_method": CAPTURE_METHOD,
    "confirmation_token": text(),
    "error_on_requires_action": flag,
    "hooks": structure,
    "mandate": text(),
    "mandate_data": UNLOOKED_AT,
    "off_session": OFF_SESSION,
    "payment_method": text(),
    "payment_method_data": structure,
    "payment_method_options": structure,
    "radar_options": structure,
    "return_url": text(),
    "use_stripe_sdk": flag,
}
CREATE_INTENT: Schema = _PAYMENT | {
    "amount": integer(1),
    "amount_details": structure,
    "application_fee_amount": integer(),
    "automatic_payment_methods": fields(
        {"allow_redirects": choice("always", "never"), "enabled": flag}, required=("enabled",)
    ),
    "confirm": flag,
    "confirmation_method": choice("automatic", "manual"),
    "currency": currency,
    "customer": text(),
    "customer_account": text(),
    "description": text(1000),
    "excluded_payment_method_types": TYPES,
    "metadata": metadata,
    "on_behalf_of": text(),
    "payment_details": structure,
    "payment_method_configuration": text(),
    "receipt_email": text(),
    "setup_future_usage": FUTURE_USAGE,
    "shipping": SHIPPING,
    "statement_descriptor": text(22),
    "statement_descriptor_suffix": text(22),
    "transfer_data": structure,
    "transfer_group": text(),
}
CONFIRM_INTENT: Schema = _PAYMENT | {
    "amount_details": UNLOOKED_AT,
    "amount_to_confirm": integer(1),
    "excluded_payment_method_types": unsettable(TYPES),
    "payment_details": UNLOOKED_AT,
    "receipt_email": unsettable(text()),
    "setup_future_usage": unsettable(FUTURE_USAGE),
    "shipping": unsettable(SHIPPING),
}
CAPTURE_INTENT: Schema = EXPAND | {
    "amount_details": structure,
    "amount_to_capture": integer(1),
    "application_fee_amount": integer(),
    "final_capture": flag,
    "hooks": structure,
    "metadata": unsettable(metadata),
    "payment_details": UNLOOKED_AT,
    "statement_descriptor": text(22),
    "statement_descriptor_suffix": text(22),
    "transfer_data": structure,
}
CANCEL_INTENT: Schema = EXPAND | {
    "cancellation_reason": choice("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
}
RETRIEVE_INTENT: Schema = EXPAND | {"client_secret": text()}
LIST_INTENTS: Schema = PAGE | {"customer": text(), "customer_account": text()}

CREATE_REFUND: Schema = EXPAND | {
    "amount": integer(1),
    "charge": text(),
    "currency": text(),
    "customer": text(),
    "instructions_email": text(),
    "metadata": unsettable(metadata),
    "origin": choice("customer_balance"),
    "payment_intent": text(),
    "reason": choice("duplicate", "fraudulent", "requested_by_customer"),
    "refund_application_fee": flag,
    "reverse_transfer": flag,
}
LIST_REFUNDS: Schema = PAGE | {"charge": text(), "payment_intent": text()}
LIST_CHARGES: Schema = PAGE | {
    "customer": text(),
    "payment_intent": text(),
    "transfer_group": text(),
}
LIST_EVENTS: Schema = PAGE | {"delivery_success": flag, "type": text(), "types": TYPES}
