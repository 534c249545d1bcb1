"""What applications may use, and what it costs to import it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import ferryman
from ferryman import requests
from ferryman.errors import FerrymanError

PUBLIC = [
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
HEAVY = ("pydantic", "httpx", "psycopg", "click", "rich", "celery", "sqlalchemy")


def test_the_public_names() -> None:
    assert ferryman.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(ferryman))
    for name in PUBLIC:
        assert getattr(ferryman, name).__name__ == name


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'charge'"):
        ferryman.charge  # noqa: B018


def test_every_file_of_requests_holds_one_kind() -> None:
    files = Path(requests.__file__).parent.glob("[a-z]*.py")
    assert sorted(requests.kinds()) == sorted(file.stem for file in files)
    for kind, made in requests.kinds().items():
        assert made.__module__ == f"ferryman.requests.{kind}"
        assert made.internal or getattr(ferryman, made.__name__) is made


def test_an_import_loads_next_to_nothing() -> None:
    code = "import sys, ferryman; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_help_needs_neither_database_nor_http() -> None:
    code = "import sys, ferryman.cli; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = [name for name in HEAVY if name != "click"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("made", FerrymanError.__subclasses__())
def test_every_error_is_public_and_says_something(made: type[FerrymanError]) -> None:
    if made.__module__ == "ferryman.errors":
        assert getattr(ferryman, made.__name__) is made
    assert made.__doc__


def test_errors_travel_between_processes() -> None:
    there = pickle.loads(pickle.dumps(ferryman.InvalidArguments("amount", "is required")))
    assert (there.field, there.message, str(there)) == (
        "amount",
        "is required",
        "amount: is required",
    )
