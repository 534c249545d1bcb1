"""HubSpot, faked: contacts made and changed in batches, a 207 for what was not taken, limits of ten
seconds and of a day, and webhooks signed by its third version.

Facts: HubSpot's published contract of contacts, its pages on errors, usage and webhooks.
"""

from sandbox.hubspot.fake import Fake as Fake
