"""What a strict Cloud Storage keeps (see `strict_gcs.py`): objects, each with its conditions and
sums, and what Google's own description of them knows."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from hashlib import md5
from pathlib import Path
from typing import Any

from google_crc32c import Checksum

Json = dict[str, Any]

AT = "2026-11-28T15:53:24.000Z"
# What may stand in any address, and is not described with the single methods.
GENERAL = {"alt", "fields", "uploadType", "upload_id"}
SUMS: dict[str, Callable[[bytes], str]] = {
    "crc32c": lambda data: base64.b64encode(Checksum(data).digest()).decode(),
    "md5Hash": lambda data: base64.b64encode(md5(data).digest()).decode(),
}


class Says(Exception):
    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Objects:
    """By bucket and key. `steps`: how many a copy takes."""

    objects: dict[tuple[str, str], tuple[Json, bytes]] = field(default_factory=dict)
    steps: int = 1
    wrong: list[str] = field(default_factory=list)
    """What was asked, and stands nowhere in Google's description."""
    _generation: int = 1_000_000

    def holds(self, bucket: str = "bucket") -> dict[str, bytes]:
        return {key: data for (at, key), (_, data) in self.objects.items() if at == bucket}

    def told(self, key: str, bucket: str = "bucket") -> Json:
        return self.objects[bucket, key][0]

    def put(self, key: str, data: bytes, bucket: str = "bucket", **told: Any) -> Json:
        """Store it, whatever stands there, as another client would."""
        self._generation += 1
        sums = {name: of(data) for name, of in SUMS.items()}
        made = {
            "contentType": "application/octet-stream",
            **{name: value for name, value in told.items() if value},
            **sums,
            "kind": "storage#object",
            "name": key,
            "bucket": bucket,
            "size": str(len(data)),
            "updated": AT,
            "generation": str(self._generation),
        }
        self.objects[bucket, key] = made, data
        return made

    def found(self, bucket: str, key: str, generation: str | None) -> tuple[Json, bytes]:
        found = self.objects.get((bucket, key))
        if found is None or generation not in (None, found[0]["generation"]):
            raise Says(404, f"No such object: {bucket}/{key}")
        return found

    def list_(self, bucket: str, query: dict[str, str]) -> Json:
        prefix, begin = query.get("prefix", ""), query.get("startOffset", "")
        keys = sorted((k for b, k in self.objects if b == bucket), key=str.encode)
        keys = [k for k in keys if k.startswith(prefix) and k.encode() >= begin.encode()]
        at, most = int(query.get("pageToken", 0)), int(query["maxResults"])
        fields = query["fields"].partition("items(")[2].rstrip(")").split(",")
        rows = [self.objects[bucket, key][0] for key in keys[at : at + most]]
        page: Json = {"kind": "storage#objects"}
        # Only what was asked for is told.
        page["items"] = [{n: v for n, v in row.items() if n in fields} for row in rows]
        return page | ({"nextPageToken": str(at + most)} if len(keys) > at + most else {})

    def copy(self, named: dict[str, str], query: dict[str, str], body: bytes) -> Json:
        made, data = self.found(named["bucket"], named["key"], query.get("sourceGeneration"))
        is_as(made, query.get("ifSourceGenerationMatch"))
        done = int(query.get("rewriteToken", 0)) + 1
        step = {"kind": "storage#rewriteResponse", "objectSize": made["size"]}
        if done < self.steps:
            told = {"done": False, "rewriteToken": str(done), "totalBytesRewritten": "1"}
            return {**step, **told}
        self.may(named["to"], named["name"], query.get("ifGenerationMatch"))
        resource = self.put(named["name"], data, named["to"], **self.resource(body))
        return {**step, "done": True, "totalBytesRewritten": made["size"], "resource": resource}

    def made(self, bucket: str, told: Json, data: bytes, condition: str | None) -> Json:
        self.may(bucket, told["name"], condition)
        for name in SUMS.keys() & told.keys():
            agrees(f"{name}={told[name]}", data)
        known = {name: value for name, value in told.items() if name not in (*SUMS, "name")}
        return self.put(told["name"], data, bucket, **known)

    def may(self, bucket: str, key: str, condition: str | None) -> None:
        stands = self.objects.get((bucket, key), ({"generation": "0"}, b""))[0]
        is_as(stands, condition)

    # --- what Google's description knows

    def resource(self, body: bytes) -> Json:
        told: Json = json.loads(body)
        if (described := contract()) is not None:
            self.wrong += sorted(set(told) - set(described["schemas"]["Object"]["properties"]))
        return told

    def knows(self, method: str, query: dict[str, str]) -> None:
        if (described := contract()) is not None:
            known = described["resources"]["objects"]["methods"][method]["parameters"]
            self.wrong += [
                f"{method}: {name}" for name in sorted(set(query) - set(known) - GENERAL)
            ]


@cache
def contract() -> Json | None:
    folder = os.environ.get("FERRYMAN_CONTRACTS")
    return json.loads(Path(folder, "gcs.json").read_text()) if folder else None


def is_as(stands: Json, condition: str | None) -> None:
    if condition not in (None, stands["generation"]):
        raise Says(412, "At least one of the pre-conditions you specified did not hold.")


def agrees(announced: str | None, data: bytes) -> None:
    """As Cloud Storage refuses what is not the announced content."""
    if announced is None:
        return
    name, _, given = announced.partition("=")
    if given != (found := SUMS[name](data)):
        kind = "CRC32C" if name == "crc32c" else "MD5 hash"
        raise Says(400, f'Provided {kind} "{given}" doesn\'t match calculated {kind} "{found}".')
