"""`upsert_contact_load`: contacts that travel together."""

from __future__ import annotations

from ferryman import requests
from tasks._load import Load
from tasks.upsert_contact import UpsertContact


class UpsertContactLoad(Load[requests.UpsertContactLoad]):
    request = requests.UpsertContactLoad
    carries = UpsertContact()
