"""SendGrid, faked: POST /v3/mail/send, which knows no idempotency key.

Facts: SendGrid's published OpenAPI of 2026-01 and its list of mail errors.
"""

from sandbox.sendgrid.fake import Fake as Fake
