"""The exceptions that the HTTP API's problem documents stand for."""

from __future__ import annotations

from typing import Any

from ferryman.errors import (
    FerrymanError,
    Forbidden,
    InvalidArguments,
    KeyConflict,
    KeyInFlight,
    NotFound,
    NotPossible,
    Unreachable,
)

Document = dict[str, Any]
CONFLICTS: dict[str, type[FerrymanError]] = {
    "/problems/key-conflict": KeyConflict,
    "/problems/key-in-flight": KeyInFlight,
}


def problem(status: int, document: Document) -> FerrymanError:
    """The exception that a problem document (RFC 9457) stands for."""
    detail = str(document.get("detail") or document.get("title"))
    if status in (400, 413, 415, 422):
        return _invalid(document, detail)
    if status == 409:
        conflict = CONFLICTS.get(str(document.get("type")))
        return conflict() if conflict else NotPossible(detail)
    if status in (401, 403):
        return Forbidden()
    if status == 421:
        return Forbidden(detail)
    if status in (404, 410):
        return NotFound(detail)
    return Unreachable(f"the API cannot help now (status {status}): {detail}")


def _invalid(document: Document, detail: str) -> InvalidArguments:
    first = next(iter(document.get("errors") or ()), document)
    field = str(first.get("field") or "request")
    message = str(first.get("message") or detail)
    return InvalidArguments(field, message.removeprefix(f"{field}: "))
