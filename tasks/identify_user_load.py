"""`identify_user_load`: people that travel together."""

from __future__ import annotations

from ferryman import requests
from tasks._load import Load
from tasks.identify_user import IdentifyUser


class IdentifyUserLoad(Load[requests.IdentifyUserLoad]):
    request = requests.IdentifyUserLoad
    carries = IdentifyUser()
