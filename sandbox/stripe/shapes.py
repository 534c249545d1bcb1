"""How does each object look from outside? Rows in, the vendor's JSON out."""

from functools import singledispatch
from typing import Any

import orjson

from sandbox.stripe.methods import details
from sandbox.stripe.objects import Charge, Customer, Dispute, Event, Intent, Refund

Shape = dict[str, Any]


@singledispatch
def shape(row: object) -> Shape:
    """The object as the API shows it, with nothing expanded."""
    raise TypeError(f"no shape for {type(row).__name__}")


@shape.register
def _customer(row: Customer) -> Shape:
    get = row.given.get
    return {
        "id": row.id,
        "object": "customer",
        "address": get("address"),
        "balance": get("balance", 0),
        "business_name": get("business_name"),
        "created": row.created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": get("description"),
        "discount": None,
        "email": get("email"),
        "individual_name": get("individual_name"),
        "invoice_prefix": get("invoice_prefix", row.id[-8:].upper()),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": row.metadata,
        "name": get("name"),
        "next_invoice_sequence": get("next_invoice_sequence", 1),
        "phone": get("phone"),
        "preferred_locales": get("preferred_locales", []),
        "shipping": get("shipping"),
        "tax_exempt": get("tax_exempt") or "none",
        "test_clock": get("test_clock"),
    }


@shape.register
def _intent(row: Intent) -> Shape:
    get = row.given.get
    return {
        "id": row.id,
        "object": "payment_intent",
        "allowed_payment_method_types": get("allowed_payment_method_types"),
        "amount": row.amount,
        "amount_capturable": row.amount_capturable,
        "amount_details": {"tip": {}},
        "amount_received": row.amount_received,
        "application": None,
        "application_fee_amount": get("application_fee_amount"),
        "automatic_payment_methods": get("automatic_payment_methods"),
        "canceled_at": row.canceled_at,
        "cancellation_reason": row.cancellation_reason,
        "capture_method": row.capture_method,
        "client_secret": f"{row.id}_secret_{row.id[-12:]}",
        "confirmation_method": get("confirmation_method", "automatic"),
        "created": row.created,
        "currency": row.currency,
        "customer": row.customer,
        "customer_account": None,
        "description": get("description"),
        "excluded_payment_method_types": get("excluded_payment_method_types"),
        "last_payment_error": row.last_payment_error,
        "latest_charge": row.latest_charge,
        "livemode": False,
        "metadata": row.metadata,
        "next_action": row.next_action,
        "on_behalf_of": get("on_behalf_of"),
        "payment_method": row.payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "us_bank_account"],
        "processing": None,
        "receipt_email": get("receipt_email"),
        "review": None,
        "setup_future_usage": get("setup_future_usage"),
        "shipping": get("shipping"),
        "source": None,
        "statement_descriptor": get("statement_descriptor"),
        "statement_descriptor_suffix": get("statement_descriptor_suffix"),
        "status": row.status,
        "transfer_data": None,
        "transfer_group": get("transfer_group"),
    }


@shape.register
def _charge(row: Charge) -> Shape:
    return {
        "id": row.id,
        "object": "charge",
        "amount": row.amount,
        "amount_captured": row.amount_captured,
        "amount_refunded": row.amount_refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": f"txn_{row.id[3:]}" if row.captured else None,
        "billing_details": {"address": {}, "email": None, "name": None, "phone": None},
        "calculated_statement_descriptor": "SANDBOX",
        "captured": row.captured,
        "created": row.created,
        "currency": row.currency,
        "customer": row.customer,
        "description": row.description,
        "disputed": row.disputed,
        "failure_balance_transaction": None,
        "failure_code": row.failure_code,
        "failure_message": row.failure_message,
        "fraud_details": {},
        "livemode": False,
        "metadata": row.metadata,
        "on_behalf_of": None,
        "outcome": _outcome(row),
        "paid": row.status == "succeeded",
        "payment_intent": row.intent,
        "payment_method": row.payment_method,
        "payment_method_details": details(row.card),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": row.captured and row.amount_refunded == row.amount_captured,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": row.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _outcome(row: Charge) -> Shape | None:
    if row.status == "pending":
        return None
    failed = row.status == "failed"
    return {
        "network_status": "declined_by_network" if failed else "approved_by_network",
        "reason": row.decline_code,
        "risk_level": "normal",
        "seller_message": row.failure_message or "Payment complete.",
        "type": "issuer_declined" if failed else "authorized",
    }


@shape.register
def _refund(row: Refund) -> Shape:
    return {
        "id": row.id,
        "object": "refund",
        "amount": row.amount,
        "balance_transaction": f"txn_{row.id[3:]}",
        "charge": row.charge,
        "created": row.created,
        "currency": row.currency,
        "destination_details": {"card": {"type": "pending"}, "type": "card"},
        "failure_reason": row.failure_reason,
        "metadata": row.metadata,
        "payment_intent": row.intent,
        "pending_reason": "processing" if row.status == "pending" else None,
        "reason": row.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": row.status,
        "transfer_reversal": None,
    }


@shape.register
def _dispute(row: Dispute) -> Shape:
    return {
        "id": row.id,
        "object": "dispute",
        "amount": row.amount,
        "balance_transactions": [],
        "charge": row.charge,
        "created": row.created,
        "currency": row.currency,
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {"has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": row.status == "won",
        "livemode": False,
        "metadata": {},
        "payment_intent": row.intent,
        "reason": row.reason,
        "status": row.status,
    }


@shape.register
def _event(row: Event) -> Shape:
    return {
        "id": row.id,
        "object": "event",
        "api_version": row.api_version,
        "created": row.created,
        "data": {"object": orjson.Fragment(row.object)},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": row.request, "idempotency_key": row.key},
        "type": row.type,
    }


def list_shape(url: str, data: list[Shape], *, has_more: bool) -> Shape:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
