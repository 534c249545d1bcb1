"""moto's server, but for one lie: that every unfinished upload was begun in 2010."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response
from moto.server import main

begin, written = FakeMultipart.__init__, S3Response.serialized


def _begin(self: FakeMultipart, *given: Any, **named: Any) -> None:
    begin(self, *given, **named)
    self.begun = datetime.now(UTC)  # type: ignore[attr-defined]


def _written(self: S3Response, result: ActionResult, *given: Any, **named: Any) -> Any:
    if self.data.get("Action") == "ListMultipartUploads":
        known: dict[str, Any] = self.backend.list_multipart_uploads(self.bucket_name)
        told: Any = result.result
        for one in told["Uploads"]:
            at = known[one["UploadId"]].begun
            one["Initiated"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return written(self, result, *given, **named)


if __name__ == "__main__":
    FakeMultipart.__init__ = _begin  # type: ignore[method-assign]
    S3Response.serialized = _written  # type: ignore
    main(sys.argv[1:])
