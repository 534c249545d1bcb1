"""What is asked of ferryman: a request, and how and when it is to be done. Checked before it
goes anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from ferryman import _times, requests
from ferryman.errors import InvalidArguments
from ferryman.requests import Request

PRIORITIES = ("high", "normal", "low")
LONGEST_KEY = 255


class Order(NamedTuple):
    """One job to be made."""

    id: UUID
    request: Request
    key: str | None
    run_at: datetime | None
    expires_at: datetime | None
    priority: str
    vendor: str | None

    def parameters(self) -> dict[str, str | None]:
        """What `ferryman.enqueue` takes, each as text: every driver sends that alike."""
        return {
            **self._manner(),
            "kind": self.request.kind,
            "args": json.dumps(self.request.args()),
            "priority": self.priority,
            "id": str(self.id),
        }

    def document(self) -> dict[str, Any]:
        """What `POST /v1/jobs` takes."""
        manner = {name: value for name, value in self._manner().items() if value is not None}
        return {
            "kind": self.request.kind,
            "args": self.request.args(),
            "priority": self.priority,
            **manner,
        }

    def row(self) -> dict[str, Any]:
        """One of those that `ferryman.enqueue_many` takes, without what is as usual."""
        made: dict[str, Any] = {
            "id": str(self.id),
            "kind": self.request.kind,
            "args": self.request.args(),
        }
        if self[2:] != _USUAL:
            made |= {name: value for name, value in self._manner().items() if value is not None}
            made["priority"] = self.priority
        return made

    def _manner(self) -> dict[str, str | None]:
        return {
            "key": self.key,
            "run_at": _times.rfc3339(self.run_at) if self.run_at else None,
            "expires_at": _times.rfc3339(self.expires_at) if self.expires_at else None,
            "vendor": self.vendor,
        }


_USUAL = (None, None, None, "normal", None)
_written = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


def rows(orders: Iterable[Order]) -> str:
    """What `ferryman.enqueue_many` takes."""
    return _written([order.row() for order in orders])


def order(
    asked: str | Request,
    args: Mapping[str, Any],
    *,
    key: str | None = None,
    run_at: datetime | str | None = None,
    expires_at: datetime | str | None = None,
    priority: str = "normal",
    vendor: str | None = None,
) -> Order:
    """A checked order with an id of its own. Raises InvalidArguments naming the field."""
    if priority not in PRIORITIES:
        raise InvalidArguments("priority", f"must be one of {', '.join(PRIORITIES)}")
    made = Order(
        id=uuid7(),
        request=_request(asked, args),
        key=_label("key", key),
        run_at=None if run_at is None else _times.moment("run_at", run_at),
        expires_at=None if expires_at is None else _times.moment("expires_at", expires_at),
        priority=priority,
        vendor=_label("vendor", vendor),
    )
    if made.run_at and made.expires_at and made.expires_at <= made.run_at:
        raise InvalidArguments("expires_at", "must be later than run_at")
    return made


def _request(asked: str | Request, args: Mapping[str, Any]) -> Request:
    if not isinstance(asked, Request):
        return requests.validate(asked, args)
    if args:
        raise TypeError("a request has its arguments already; give it none beside it")
    if asked.internal:
        raise InvalidArguments("kind", "is made by ferryman itself only")
    return asked


def _label(field: str, given: str | None) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_KEY or not given.isprintable():
        raise InvalidArguments(
            field, f"must be text of 1 to {LONGEST_KEY} characters without control characters"
        )
    return given
