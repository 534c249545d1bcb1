"""Where objects lie: `file:///folder`, `s3://bucket/prefix` or `gs://bucket/prefix`.

Nothing in such an address is percent-decoded: it is taken as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
# Cloud Storage: https://cloud.google.com/storage/docs/buckets#naming
_BUCKETS = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
}
LONGEST = 1024


@dataclass(frozen=True)
class Location:
    """A folder (`bucket` empty, `path` absolute) or a bucket with a prefix (`path` relative,
    without slashes at its ends, empty for the whole bucket)."""

    scheme: str
    bucket: str
    path: str

    @property
    def remote(self) -> bool:
        return self.scheme != "file"

    def contains(self, other: Location) -> bool:
        """Whether the other is the same place or lies within this one."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        return not self.path or f"{other.path}/".startswith(f"{self.path}/")


def parse(address: str) -> Location:
    """The parts of an address. Raises ValueError saying what is wrong, without repeating it."""
    if _CONTROL.search(address):
        raise ValueError("must not contain line breaks or other control characters")
    if len(address) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters")
    scheme, mark, rest = address.partition("://")
    if not mark or scheme not in ("file", *_BUCKETS):
        raise ValueError("must begin with file:///, s3:// or gs://")
    return _folder(rest) if scheme == "file" else _bucket(scheme, rest)


def file_address(path: Path) -> str:
    """The `file://` address of a local path."""
    return f"file://{path.expanduser().absolute()}"


def _folder(path: str) -> Location:
    if not path.startswith("/"):
        raise ValueError("must be file:// followed by an absolute path, such as file:///srv/photos")
    segments = _segments(path.strip("/"))
    if not segments:
        raise ValueError("must name a folder below the root of the file system")
    return Location("file", "", "/" + "/".join(segments))


def _bucket(scheme: str, rest: str) -> Location:
    bucket, _, prefix = rest.partition("/")
    if not _BUCKETS[scheme].fullmatch(bucket) or ".." in bucket:
        raise ValueError(f"must be {scheme}:// followed by the name of a bucket")
    return Location(scheme, bucket, "/".join(_segments(prefix.removesuffix("/"))))


def _segments(path: str) -> list[str]:
    segments = path.split("/") if path else []
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError("must not contain empty, `.` or `..` parts")
    return segments
