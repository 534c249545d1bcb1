"""Why a job failed or is in doubt: the closed list of `code`s of a job's `error`, the same for all
vendors. What the vendor itself said stands in the job's attempts."""

from __future__ import annotations

from typing import Literal, get_args

Code = Literal[
    # the payer, and what he pays with
    "authentication_failed",
    "authentication_required",
    "card_declined",
    "card_expired",
    "card_invalid",
    "insufficient_funds",
    "payment_declined",
    "payment_method_invalid",
    # amounts
    "amount_exceeds_rest",
    "amount_mismatch",
    "amount_too_large",
    "amount_too_small",
    "currency_mismatch",
    "currency_not_supported",
    "invalid_amount",
    # what became of a payment
    "already_captured",
    "already_refunded",
    "authorization_expired",
    "charge_authorized",
    "charge_cancelled",
    "charge_disputed",
    "charge_failed",
    "charge_not_found",
    "charge_partially_refunded",
    "charge_processing",
    "charge_refunded",
    "charge_requires_action",
    "charge_succeeded",
    "payment_cancelled",
    "payment_not_known",
    "processing",
    "refund_failed",
    "refund_not_allowed",
    "refund_too_late",
    # mails and text messages
    "invalid_recipient",
    "nothing_to_send",
    "sender_missing",
    "suppressed",
    # places of objects
    "bucket_not_found",
    "checksum_mismatch",
    "delete_limit",
    "destination_not_a_folder",
    "destination_not_writable",
    "invalid_key",
    "keys_refused",
    "objects_failed",
    "source_changed",
    "source_missing",
    "source_not_a_folder",
    "source_unreadable",
    # any job
    "account_restricted",
    "attempts_used",
    "connection_lost",
    "credentials_missing",
    "duplicate",
    "expired",
    "internal_error",
    "invalid_arguments",
    "misconfigured",
    "not_found",
    "not_sent",
    "not_supported",
    "outcome_unknown",
    "rate_limited",
    "refused",
    "resolved",
    "several_effects",
    "timeout",
    "too_large",
    "vendor_error",
    "vendor_unavailable",
    "wrong_state",
]

CODES: tuple[str, ...] = get_args(Code)
