"""What a request asks of an object store, S3's or Google's, and which content it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote


class Content(NamedTuple):
    """An object that is written ("PUT") or read ("GET"): whole, or the part or range `span`."""

    method: str
    key: str
    span: str


@dataclass(frozen=True)
class Asked:
    """A request. `query`: its parameters by name, the empty ones as well."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def content(self) -> Content | None:
        """Which content is carried by it, as the vendor names objects; None: none is."""
        path = unquote(self.path)
        if path.startswith(("/upload/", "/storage/")):
            return self._of_google(path)
        key = path.split("/", 2)[2:]
        if self.method == "PUT" and key and "x-amz-copy-source" not in self.headers:
            return Content("PUT", key[0], self.query.get("partNumber", ""))
        if self.method == "GET" and key and not self.query:
            return Content("GET", key[0], self.headers.get("range", ""))
        return None

    def _of_google(self, path: str) -> Content | None:
        if path.startswith("/upload/"):
            span = self.headers.get("content-range", "")
            asks = span.startswith("bytes */") or (
                self.query.get("uploadType") == "resumable" and not span
            )
            return None if asks else Content("PUT", self.query.get("name", ""), span)
        if self.query.get("alt") == "media":
            return Content("GET", path.partition("/o/")[2], self.headers.get("range", ""))
        return None


# What is to be held.
def small(asked: Asked) -> bool:
    """An object written at once."""
    return asked.content is not None and asked.content[::2] == ("PUT", "")


def read(asked: Asked) -> bool:
    return asked.content is not None and asked.content.method == "GET"


def begin(asked: Asked) -> bool:
    """The beginning of an upload in parts; then one of its parts, and its end."""
    return asked.method == "POST" and "uploads" in asked.query


def part(asked: Asked) -> bool:
    return "partNumber" in asked.query


def complete(asked: Asked) -> bool:
    return asked.method == "POST" and "uploadId" in asked.query


def delete(asked: Asked) -> bool:
    return asked.method == "DELETE" or (asked.method == "POST" and "delete" in asked.query)
