"""PayPal's reasons to refuse (`details[].issue`, `name`) in our words.

https://developer.paypal.com/api/orders/v2/error-messages
https://developer.paypal.com/api/payments/v2/error-messages
"""

from __future__ import annotations

CODES = {
    # the payer, and what he pays with
    "INSTRUMENT_DECLINED": "card_declined",
    "TRANSACTION_REFUSED": "card_declined",
    "PAYER_CANNOT_PAY": "card_declined",
    "PAYER_ACCOUNT_RESTRICTED": "card_declined",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "card_declined",
    "PAYMENT_DENIED": "card_declined",
    "COMPLIANCE_VIOLATION": "card_declined",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": "card_declined",
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": "card_declined",
    "TRANSACTION_LIMIT_EXCEEDED": "card_declined",
    "CARD_TYPE_NOT_SUPPORTED": "card_declined",
    "CARD_BRAND_NOT_SUPPORTED": "card_declined",
    "INSUFFICIENT_FUNDS": "insufficient_funds",
    "CARD_EXPIRED": "card_expired",
    "REFERENCED_CARD_EXPIRED": "card_expired",
    "ORDER_NOT_APPROVED": "authentication_required",
    "PAYER_ACTION_REQUIRED": "authentication_required",
    "AGREEMENT_ALREADY_CANCELLED": "payment_method_invalid",
    "BILLING_AGREEMENT_NOT_FOUND": "payment_method_invalid",
    "TOKEN_ID_NOT_FOUND": "payment_method_invalid",
    "TOKEN_EXPIRED": "payment_method_invalid",
    "INVALID_VAULT_ID": "payment_method_invalid",
    # our own account there
    "PAYEE_ACCOUNT_RESTRICTED": "account_restricted",
    "PAYEE_ACCOUNT_LOCKED_OR_CLOSED": "account_restricted",
    "PAYEE_BLOCKED_TRANSACTION": "account_restricted",
    "TRANSACTION_BLOCKED_BY_PAYEE": "account_restricted",
    "TRANSACTION_RECEIVING_LIMIT_EXCEEDED": "account_restricted",
    # amounts
    "DECIMAL_PRECISION": "invalid_amount",
    "DECIMALS_NOT_SUPPORTED": "invalid_amount",
    "CANNOT_BE_NEGATIVE": "invalid_amount",
    "CANNOT_BE_ZERO_OR_NEGATIVE": "invalid_amount",
    "AMOUNT_MISMATCH": "invalid_amount",
    "REFUND_AMOUNT_TOO_LOW": "amount_too_small",
    "REFUND_AMOUNT_EXCEEDED": "amount_too_large",
    "MAX_CAPTURE_AMOUNT_EXCEEDED": "amount_too_large",
    "MAX_VALUE_EXCEEDED": "amount_too_large",
    "AUTHORIZATION_AMOUNT_EXCEEDED": "amount_too_large",
    "MAX_REFUND_LIMIT_EXCEEDED": "amount_too_large",
    "CURRENCY_NOT_SUPPORTED": "currency_not_supported",
    "INVALID_CURRENCY_CODE": "currency_not_supported",
    "CURRENCY_NOT_SUPPORTED_FOR_COUNTRY": "currency_not_supported",
    "CURRENCY_MISMATCH": "currency_mismatch",
    "AUTH_CAPTURE_CURRENCY_MISMATCH": "currency_mismatch",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "currency_mismatch",
    "REFUND_CURRENCY_MISMATCH": "currency_mismatch",
    # what became of it before
    "RESOURCE_NOT_FOUND": "not_found",
    "INVALID_RESOURCE_ID": "not_found",
    "ORDER_EXPIRED": "not_found",
    "ORDER_ALREADY_CAPTURED": "already_captured",
    "ORDER_ALREADY_AUTHORIZED": "already_captured",
    "ORDER_ALREADY_COMPLETED": "already_captured",
    "ORDER_COMPLETED_OR_VOIDED": "already_captured",
    "MAX_AUTHORIZATION_COUNT_EXCEEDED": "already_captured",
    "AUTHORIZATION_ALREADY_CAPTURED": "already_captured",
    "MAX_CAPTURE_COUNT_EXCEEDED": "already_captured",
    "PREVIOUSLY_CAPTURED": "already_captured",
    "AUTHORIZATION_VOIDED": "payment_cancelled",
    "PREVIOUSLY_VOIDED": "payment_cancelled",
    "AUTHORIZATION_EXPIRED": "authorization_expired",
    "AUTHORIZATION_DENIED": "card_declined",
    "DUPLICATE_INVOICE_ID": "duplicate",
    "DUPLICATE_TRANSACTION": "duplicate",
    # refunds
    "CAPTURE_FULLY_REFUNDED": "already_refunded",
    "CAPTURED_AMOUNT_FULLY_REFUNDED": "already_refunded",
    "REFUND_FAILED_INSUFFICIENT_FUNDS": "insufficient_funds",
    "REFUND_FUNDS_NOT_AVAILABLE": "insufficient_funds",
    "REFUND_TIME_LIMIT_EXCEEDED": "refund_too_late",
    "REFUND_TIME_EXCEEDED_FOR_PAYMENT_SOURCE": "refund_too_late",
    "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": "charge_disputed",
    "CAPTURE_DISPUTED_PARTIAL_REFUND_NOT_ALLOWED": "charge_disputed",
    "TRANSACTION_DISPUTED": "charge_disputed",
    "PENDING_CAPTURE": "charge_processing",
    "REFUND_NOT_ALLOWED": "refund_not_allowed",
    "PARTIAL_REFUND_NOT_ALLOWED": "refund_not_allowed",
    "MAX_NUMBER_OF_REFUNDS_EXCEEDED": "refund_not_allowed",
    # the request
    "INVALID_STRING_LENGTH": "invalid_arguments",
    "INVALID_STRING_MAX_LENGTH": "invalid_arguments",
    "INVALID_PARAMETER_SYNTAX": "invalid_arguments",
    "INVALID_PARAMETER_VALUE": "invalid_arguments",
    "MISSING_REQUIRED_PARAMETER": "invalid_arguments",
}

# Of these: the order or authorization is no longer as we thought.
SETTLED = frozenset({"already_captured", "payment_cancelled", "not_found", "authorization_expired"})
NEEDS_PAYER = frozenset({"ORDER_NOT_APPROVED", "PAYER_ACTION_REQUIRED"})
IN_PROGRESS = "PREVIOUS_REQUEST_IN_PROGRESS"
KEY_KNOWN = frozenset({"DUPLICATE_REQUEST_ID", "PAYPAL_REQUEST_ID_PREVIOUSLY_USED"})
