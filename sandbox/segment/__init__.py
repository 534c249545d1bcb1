"""Segment, faked: batches of calls, each once by its `messageId`, and what lacks a user or a name
dropped without a word, as the real one does.

Facts: Segment's page on its HTTP API.
"""

from sandbox.segment.fake import Fake as Fake
