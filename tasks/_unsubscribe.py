"""The address by which one recipient leaves the list: the letter's, filled in for him."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from tasks._base import Refusal

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")
OWN = ("id", "to")


class Unfit(ValueError):
    """This recipient's mail cannot be made; the message says why, without the data."""


class Unsubscribe:
    """Fills `{id}`, `{to}` and the names of a recipient's data into an address, percent-encoded.
    Raises Refusal for one that cannot be filled in. `asks`: whether data is needed for it."""

    def __init__(self, url: str | None, shared: Mapping[str, Any] | None) -> None:
        self._url = url
        self._shared = shared or {}
        names = set(PLACEHOLDER.findall(url)) if url else set()
        rest = PLACEHOLDER.sub("", url or "")
        if "{" in rest or "}" in rest or not all(map(NAME.fullmatch, names)):
            message = "unsubscribe_url: only names in braces, such as {id}, can be filled in"
            raise Refusal("invalid_arguments", message)
        self._names = sorted(names - set(OWN))
        self.asks = bool(self._names)

    def check(self, data: Mapping[str, Any] | None) -> None:
        """Whether this data has all that is to be filled in. Raises Unfit."""
        for name in self._names:
            value = (data or {}).get(name, self._shared.get(name))
            if not isinstance(value, str | int) or value == "":
                raise Unfit(f"data: `{name}`, for the unsubscribe_url, is missing or is no text")

    def url(self, id: UUID, to: str, data: Mapping[str, Any]) -> str | None:
        """The address for one. Raises Unfit."""
        if self._url is None:
            return None
        self.check(data)
        known = {**self._shared, **data, "id": str(id), "to": to}
        return PLACEHOLDER.sub(lambda found: quote(str(known[found[1]]), safe=""), self._url)
