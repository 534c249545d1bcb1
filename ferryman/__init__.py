"""Ferryman carries an application's calls to third parties through a durable queue.

What applications use is named here and loaded when it is first used, so that `import ferryman`
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferryman._job import Job
    from ferryman._many import aenqueue_many, enqueue_many, order
    from ferryman._order import Order
    from ferryman.client import aenqueue, enqueue, job, jobs
    from ferryman.errors import (
        FerrymanError,
        Forbidden,
        InvalidArguments,
        InvalidSetting,
        KeyConflict,
        KeyInFlight,
        MissingSetting,
        NotFound,
        NotPossible,
        Unreachable,
    )
    from ferryman.requests import (
        BulkContacts,
        BulkEmail,
        BulkSms,
        CancelCharge,
        CaptureCharge,
        Charge,
        ContactRecord,
        Event,
        IdentifyUser,
        Recipient,
        Refund,
        Request,
        SendEmail,
        SendSms,
        SyncObjects,
        TrackEvent,
        UpsertContact,
    )
    from ferryman.uploads import aupload, upload

__all__ = [
    "BulkContacts",
    "BulkEmail",
    "BulkSms",
    "CancelCharge",
    "CaptureCharge",
    "Charge",
    "ContactRecord",
    "Event",
    "FerrymanError",
    "Forbidden",
    "IdentifyUser",
    "InvalidArguments",
    "InvalidSetting",
    "Job",
    "KeyConflict",
    "KeyInFlight",
    "MissingSetting",
    "NotFound",
    "NotPossible",
    "Order",
    "Recipient",
    "Refund",
    "Request",
    "SendEmail",
    "SendSms",
    "SyncObjects",
    "TrackEvent",
    "Unreachable",
    "UpsertContact",
    "aenqueue",
    "aenqueue_many",
    "aupload",
    "enqueue",
    "enqueue_many",
    "job",
    "jobs",
    "order",
    "upload",
]

_HOMES = (
    "ferryman.errors",
    "ferryman.requests",
    "ferryman._many",
    "ferryman.client",
    "ferryman.uploads",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            if hasattr(module := import_module(home), name):
                found = globals()[name] = getattr(module, name)
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
