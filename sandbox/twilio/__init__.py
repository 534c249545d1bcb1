"""Twilio, faked: messages made, listed and fetched, with status callbacks; it knows no idempotency
key.

Facts: Twilio's published OpenAPI of 2026-04, and its lists of errors and of test numbers.
"""

from sandbox.twilio.fake import Fake as Fake
