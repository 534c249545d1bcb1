"""What S3's tests have in common, and a server that keeps conditions as S3 says it does."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from adapters._base import Request, Response
from adapters._storage import Expect, Stored
from tests import moto
from tests.faulty import answer

BUCKET = "ferryman-tests"
AT = datetime(2026, 11, 24, 21, 53, 10, tzinfo=UTC)
NOTHING = Expect()


def settings(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("S3_BASE_URL", url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in moto.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def stored(key: str, size: int = 5, etag: str | None = None) -> Stored:
    return Stored(key, size, AT, etag)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def xml(status: int, code: str) -> bytes:
    return answer(status, f"<Error><Code>{code}</Code></Error>".encode())


def signature(url: str, asked: dict[str, str], head: Message, method: str = "GET") -> str:
    """What botocore makes of a request that came in."""
    proof = re.search(r"SignedHeaders=([^,]+)", head["authorization"])
    assert proof
    signed = {name: head[name] for name in proof[1].split(";")}
    assert {"host", "x-amz-date"} <= set(signed)
    request = AWSRequest(method, url, headers=signed, params=asked)
    request.context["timestamp"] = head["x-amz-date"]
    keys = Credentials(*list(moto.ENVIRONMENT.values())[:2])
    signer = S3SigV4Auth(keys, "s3", "eu-west-1")
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    return f"Signature={signer.signature(to_sign, request)}"


@dataclass
class Strict:
    """A server of one bucket: the ETags of its keys. Its answers say no more than they must."""

    holds: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: Request) -> Response:
        key = unquote(urlsplit(request.url).path).removeprefix(f"/{BUCKET}").removeprefix("/")
        match request.method:
            case "HEAD":
                return self._look(key)
            case "PUT":
                return self._copy(key, request.headers)
        return self._delete(request)

    def _look(self, key: str) -> Response:
        if key not in self.holds:
            return Response(404, {}, b"")
        return Response(200, {"etag": f'"{self.holds[key]}"'}, b"")

    def _copy(self, key: str, headers: Any) -> Response:
        source = unquote(headers["x-amz-copy-source"]).removeprefix(f"/{BUCKET}/")
        if source not in self.holds:
            return error(404, "NoSuchKey")
        wanted = {"x-amz-copy-source-if-match": self.holds[source]}
        if "If-Match" in headers:
            wanted["If-Match"] = self.holds.get(key, "")
        if any(headers[name] != f'"{etag}"' for name, etag in wanted.items()):
            return error(412, "PreconditionFailed")
        if "If-None-Match" in headers and key in self.holds:
            return error(412, "PreconditionFailed")
        self.holds[key] = self.holds[source]
        body = f"<CopyObjectResult><ETag>&quot;{self.holds[key]}&quot;</ETag></CopyObjectResult>"
        return Response(200, {"x-amz-version-id": "v"}, body.encode())

    def _delete(self, request: Request) -> Response:
        proof = hashlib.md5(request.body, usedforsecurity=False).digest()
        if request.headers["Content-MD5"] != base64.b64encode(proof).decode():
            return error(400, "BadDigest")
        asked = [(one.findtext("Key"), one.findtext("ETag")) for one in parsed(request.body)]
        if len(asked) > 1000:
            return error(400, "MalformedXML")
        root = ElementTree.Element("DeleteResult")
        for key, etag in asked:
            assert key is not None
            held = self.holds.get(key)
            code = "NoSuchKey" if held is None else "PreconditionFailed"
            failed = etag is not None and etag != f'"{held}"'
            one = ElementTree.SubElement(root, "Error" if failed else "Deleted")
            ElementTree.SubElement(one, "Key").text = key
            if failed:
                ElementTree.SubElement(one, "Code").text = code
            else:
                self.holds.pop(key, None)
        return Response(200, {}, ElementTree.tostring(root))


def parsed(body: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(body)


def error(status: int, code: str) -> Response:
    return Response(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
