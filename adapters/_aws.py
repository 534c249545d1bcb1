"""Who are we to AWS? botocore finds the keys, renews them, and signs with them.

Where it looks: https://docs.aws.amazon.com/boto3/latest/guide/credentials.html
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from adapters._base import Misconfigured

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


class Identity:
    """The keys of this process, looked for in a thread, once for all who wait for them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aws")
        self._fingerprint = ""
        self._answer: Future[Found] | None = None

    async def keys(self, fingerprint: str) -> ReadOnlyCredentials:
        """Another fingerprint makes it look anew. Raises Misconfigured naming what is missing."""
        answer = self._answer if fingerprint == self._fingerprint else None
        if answer is None or (answer.done() and answer.exception()):
            answer = self._thread.submit(_find)
        elif answer.done() and answer.result().aged():
            answer = self._thread.submit(_find, answer.result().source)
        self._fingerprint, self._answer = fingerprint, answer
        if not answer.done():
            await asyncio.shield(asyncio.wrap_future(answer))
        return answer.result().keys


def region() -> str:
    found = (os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
    return next(filter(None, found), "us-east-1")


def signed(url: str, keys: ReadOnlyCredentials) -> dict[str, str]:
    """The headers that prove to S3 who GETs `url`, whose query is percent-encoded throughout."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest("GET", url)
    S3SigV4Auth(keys, "s3", region()).add_auth(request)
    return dict(request.headers)


def _find(source: Credentials | None = None) -> Found:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if found := source or _source():
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
