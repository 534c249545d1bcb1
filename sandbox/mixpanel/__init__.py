"""Mixpanel, faked: events imported strictly, each once by its `$insert_id`, and people's profiles.

Facts: Mixpanel's reference of /import and /engage, and its page on what a 400 means.
"""

from sandbox.mixpanel.fake import Fake as Fake
