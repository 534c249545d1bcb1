"""How is a request to AWS signed? Signature version 4, for requests without a body.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from urllib.parse import quote, urlsplit

from adapters._aws import Keys

EMPTY = hashlib.sha256(b"").hexdigest()
ALGORITHM = "AWS4-HMAC-SHA256"


def query(parameters: Mapping[str, str]) -> str:
    """The parameters as a query in the one form that can be signed."""
    pairs = ((quote(name, safe="-_.~"), quote(v, safe="-_.~")) for name, v in parameters.items())
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def headers(
    method: str, url: str, *, keys: Keys, region: str, service: str, at: datetime
) -> dict[str, str]:
    """The headers that prove who asks. The URL's query must come from `query`."""
    parts = urlsplit(url)
    signed = {
        "host": parts.netloc,
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": at.strftime("%Y%m%dT%H%M%SZ"),
    }
    if keys.token:
        signed["x-amz-security-token"] = keys.token
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join((method, parts.path or "/", parts.query, lines, names, EMPTY))
    scope = f"{at:%Y%m%d}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, signed["x-amz-date"], scope, digest))
    key = reduce(_mac, scope.split("/"), f"AWS4{keys.secret}".encode())
    signature = _mac(key, to_sign).hex()
    proof = f"Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {n: v for n, v in signed.items() if n != "host"} | {
        "authorization": f"{ALGORITHM} {proof}"
    }


def _mac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
