"""Stripe, faked: customers, payment intents, charges, refunds, events and the balance.

Facts: Stripe's API reference and typed request parameters, version 2026-10-28.endive.
"""

from sandbox.stripe.fake import Fake as Fake
