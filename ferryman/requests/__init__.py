"""The kinds of jobs and their arguments: one file a kind, one validation for every door."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ferryman.errors import InvalidArguments
from ferryman.requests import _words
from ferryman.requests._base import Request
from ferryman.requests.bulk_contacts import BulkContacts, ContactRecord
from ferryman.requests.bulk_email import BulkEmail, Recipient
from ferryman.requests.bulk_email_part import BulkEmailPart
from ferryman.requests.bulk_sms import BulkSms, Number
from ferryman.requests.cancel_charge import CancelCharge
from ferryman.requests.capture_charge import CaptureCharge
from ferryman.requests.charge import Charge
from ferryman.requests.identify_user import IdentifyUser
from ferryman.requests.identify_user_load import IdentifyUserLoad
from ferryman.requests.poll_events import PollEvents
from ferryman.requests.refresh_charge import RefreshCharge
from ferryman.requests.refund import Refund
from ferryman.requests.send_email import SendEmail
from ferryman.requests.send_sms import SendSms
from ferryman.requests.sync_objects import SyncObjects
from ferryman.requests.sync_objects_part import SyncObjectsPart
from ferryman.requests.sync_suppressions import SyncSuppressions
from ferryman.requests.track_event import Event, TrackEvent
from ferryman.requests.track_event_load import TrackEventLoad
from ferryman.requests.upsert_contact import UpsertContact
from ferryman.requests.upsert_contact_load import UpsertContactLoad

__all__ = [
    "BulkContacts",
    "BulkEmail",
    "BulkEmailPart",
    "BulkSms",
    "CancelCharge",
    "CaptureCharge",
    "Charge",
    "ContactRecord",
    "Event",
    "IdentifyUser",
    "IdentifyUserLoad",
    "Number",
    "PollEvents",
    "Recipient",
    "RefreshCharge",
    "Refund",
    "Request",
    "SendEmail",
    "SendSms",
    "SyncObjects",
    "SyncObjectsPart",
    "SyncSuppressions",
    "TrackEvent",
    "TrackEventLoad",
    "UpsertContact",
    "UpsertContactLoad",
    "kinds",
    "validate",
]


@cache
def kinds() -> dict[str, type[Request]]:
    """Every kind of job by its name."""
    found = (made for made in globals().values() if isinstance(made, type))
    return {made.kind: made for made in found if issubclass(made, Request) and made is not Request}


def validate(kind: str, args: Mapping[str, Any], *, internal: bool = False) -> Request:
    """The typed request of a kind. Raises InvalidArguments naming the first field that is wrong
    (`kind` itself where there is no such kind). `internal`: also the kinds that only ferryman
    itself makes, which no door takes."""
    known = {name: made for name, made in kinds().items() if internal or not made.internal}
    if not isinstance(kind, str) or kind not in known:
        raise InvalidArguments("kind", f"must be one of {', '.join(sorted(known))}")
    if not isinstance(args, Mapping):
        raise InvalidArguments("args", "must be an object of names and values")
    if strange := [name for name in args if not isinstance(name, str)]:
        message = _words.unknown(str(strange[0]), known[kind].names())
        raise InvalidArguments(_words.field([str(strange[0])]), message)
    return known[kind](**args)
