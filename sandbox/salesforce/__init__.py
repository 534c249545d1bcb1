"""Salesforce, faked: contacts made and changed by their external ids, one by one or two hundred at
a time with a result each, tokens that end, and a day's limit of requests.

Facts: Salesforce's REST guide (collections, upsert by external id, limits, status codes).
"""

from sandbox.salesforce.fake import Fake as Fake
