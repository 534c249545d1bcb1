"""PayPal, faked: tokens, orders, authorizations, captures, refunds, disputes, events, certificates.

Facts: PayPal's published OpenAPI files (orders v2, payments v2, webhooks v1; of disputes v1 what a
look at them needs) and https://developer.paypal.com/reference/guidelines/idempotency.

Links name PayPal's own sandbox host, as PayPal's do: who follows one puts his base URL before its
path.
"""

from sandbox.paypal.fake import Fake as Fake
