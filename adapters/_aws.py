"""Who are we to AWS? botocore finds the keys, renews them, and signs with them.

Where it looks: https://docs.aws.amazon.com/boto3/latest/guide/credentials.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters._base import Misconfigured, Request

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

ID, SECRET, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
# botocore hands out none that serve for less.
SERVES = timedelta(minutes=10)
# Where nobody answers for a role, a job should say so soon; botocore would wait for minutes.
INSTANCE = {"metadata_service_timeout": 1, "metadata_service_num_attempts": 1}
OTHERS = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 2}}


class Found(NamedTuple):
    source: Credentials
    keys: ReadOnlyCredentials

    def aged(self) -> bool:
        # Only keys that expire can tell.
        return getattr(self.source, "refresh_needed", bool)()


def region() -> str:
    found = (os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
    return next(filter(None, found), "us-east-1")


def signed(request: Request, keys: ReadOnlyCredentials, sha256: str) -> dict[str, str]:
    """The headers that prove to S3 who sends the request, whose query is percent-encoded
    throughout, and that its body is the one of that SHA-256, in hex."""
    from botocore.awsrequest import AWSRequest

    proof = AWSRequest(request.method, request.url, dict(request.headers))
    proof.context["sha256"] = sha256
    _signer()(keys, "s3", region()).add_auth(proof)
    given: Mapping[str, str] = request.headers
    return {name: value for name, value in proof.headers.items() if name not in given}


@cache
def _signer() -> Any:
    from botocore.auth import S3SigV4Auth

    class Signer(S3SigV4Auth):  # type: ignore[misc] # botocore ships no types
        """botocore's own would hash the body once more, and within the event loop."""

        def payload(self, request: Any) -> str:
            return str(request.context["sha256"])

    return Signer


def find(before: Found | None = None) -> Found:
    """The keys, or those found before, renewed. Raises Misconfigured naming what is missing."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if found := before.source if before else _source():
            return Found(found, found.get_frozen_credentials())
    except (BotoCoreError, ClientError, OSError, KeyError, ValueError, RuntimeError) as error:
        name = getattr(error, "kwargs", {}).get("cred_var")
        other = f"{type(error).__name__} on the way to AWS keys: mend that, or set {ID}"
        told = f"{name} is not set" if name else other
        raise Misconfigured(told, code="credentials_missing") from error
    raise Misconfigured(f"{ID} is not set", code="credentials_missing")


def _source() -> Credentials | None:
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    for name, value in {**INSTANCE, "region": region()}.items():
        session.set_config_variable(name, value)
    session.set_default_client_config(Config(**OTHERS))
    return session.get_credentials()
