"""What object stores hold, read over one plain connection: twenty thousand objects are many for a
client that signs and builds each request. Neither server looks at a signature."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlencode, urlsplit

from tests import moto

# What is not signed at all is refused.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=tests/20300101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


class Plain:
    """One connection to one server."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body, SIGNED)
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status == 200, (method, path, answer.status, data)
        return data

    def close(self) -> None:
        self._connection.close()


@contextmanager
def plain(url: str) -> Iterator[Plain]:
    made = Plain(url)
    try:
        yield made
    finally:
        made.close()


def fill(url: str, bucket: str, objects: Mapping[str, bytes]) -> None:
    """Put these into a bucket of S3's."""
    with plain(url) as server:
        for key, data in objects.items():
            server.ask("PUT", f"/{bucket}/{quote(key)}", data)


def s3_holds(url: str, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, by its key."""
    pages = moto.oracle(url).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    with plain(url) as server:
        return {key: server.ask("GET", f"/{bucket}/{quote(key)}") for key in keys}


def gcs_holds(url: str, bucket: str) -> dict[str, bytes]:
    """The same of Google's."""
    with plain(url) as server:
        return {
            key: server.ask("GET", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media")
            for key in _names(server, bucket)
        }


def _names(server: Plain, bucket: str) -> Iterator[str]:
    token = ""
    while True:
        asked = urlencode({"pageToken": token, "maxResults": 1000})
        page = json.loads(server.ask("GET", f"/storage/v1/b/{bucket}/o?{asked}"))
        yield from (found["name"] for found in page.get("items", ()))
        if not (token := page.get("nextPageToken", "")):
            return
