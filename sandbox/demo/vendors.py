"""What do the vendors say? Effects from the sandbox's log, objects out of the S3 fake."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx

from ferryman.testing import Sandbox
from sandbox.demo.orders import BUCKET, PREFIX

AT_ONCE = 4
# The fake asks who one is, and believes it.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=demo/20300101/us-east-1/s3/aws4_request"}


@dataclass(frozen=True)
class Effect:
    """Something that happened at a vendor: which job and which mail it names as its cause."""

    vendor: str
    kind: str
    job: str | None
    mail: str | None = None
    amount: int | None = None
    to: str | None = None

    @staticmethod
    def of(entry: dict[str, Any]) -> Effect:
        return Effect(
            entry["vendor"],
            entry["kind"],
            entry["job"],
            (entry.get("custom_args") or {}).get("ferryman_email"),
            entry.get("amount"),
            entry.get("to"),
        )


def effects(sandbox: Sandbox, kind: str | None = None) -> list[Effect]:
    return [Effect.of(entry) for entry in sandbox.effects(kind=kind)]


class Bucket:
    """The demo's bucket, by plain HTTP: no code of ferryman's stands in between."""

    def __init__(self, s3_url: str) -> None:
        self._http = httpx.Client(
            base_url=f"{s3_url}/{BUCKET}", headers=SIGNED, trust_env=False, timeout=30
        )

    def close(self) -> None:
        self._http.close()

    def create(self) -> None:
        self._http.put("").raise_for_status()

    def digests(self) -> dict[str, str]:
        """What lies below the prefix: each object's digest by its name."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            keys = list(self._keys())
            found = threads.map(self._digest, keys)
            return dict(zip((key.removeprefix(f"{PREFIX}/") for key in keys), found, strict=True))

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            asked = {"list-type": "2", "start-after": keys[-1] if keys else ""}
            answer = self._http.get("", params=asked).raise_for_status()
            document = ElementTree.fromstring(answer.content)  # noqa: S314 - our own fake's
            keys += [str(key.text) for key in document.iterfind("{*}Contents/{*}Key")]
            if document.findtext("{*}IsTruncated") != "true":
                return keys

    def _digest(self, key: str) -> str:
        return sha256(self._http.get(quote(key)).raise_for_status().content).hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """The same of a local folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in files}


@dataclass(frozen=True)
class Flower:
    """What Flower's own API lists."""

    workers: list[str]
    tasks: dict[str, str]
    """The state of each task that Flower saw, by its id."""

    @staticmethod
    def look(url: str) -> Flower:
        get = partial(httpx.get, trust_env=False, timeout=10)
        workers = get(f"{url}/api/workers").raise_for_status().json()
        tasks = get(f"{url}/api/tasks").raise_for_status().json()
        return Flower(sorted(workers), {one: task["state"] for one, task in tasks.items()})


def breaker_changes(api_url: str) -> dict[str, list[dict[str, str]]]:
    """The history of each vendor's breaker: `at` and `state`, oldest first."""
    cards = httpx.get(f"{api_url}/v1/vendors", trust_env=False).raise_for_status().json()
    return {card["vendor"]: card["breaker_changes"] for card in cards["vendors"]}
