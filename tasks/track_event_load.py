"""`track_event_load`: events that travel together."""

from __future__ import annotations

from ferryman import requests
from tasks._load import Load
from tasks.track_event import TrackEvent


class TrackEventLoad(Load[requests.TrackEventLoad]):
    request = requests.TrackEventLoad
    carries = TrackEvent()
