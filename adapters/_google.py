"""Who are we to Google? google-auth finds the credentials, and makes tokens of them.

Where it looks: https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from adapters._base import Misconfigured, Unavailable

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport import Request

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
# Where a token's issuer does not answer, a job should say so soon.
CONNECT_SECONDS, READ_SECONDS = 2.0, 10.0


class Token(NamedTuple):
    source: Credentials
    text: str

    def aged(self) -> bool:
        from google.auth.credentials import TokenState

        return self.source.token_state is not TokenState.FRESH


def find(before: Token | None = None) -> Token:
    """A token, or another one from the same credentials. Raises Misconfigured naming what is
    missing, and Unavailable where the issuer of tokens cannot be reached."""
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError

    try:
        wire = _wire()
        source = before.source if before else _source(wire)
        source.refresh(wire)
    except DefaultCredentialsError as error:
        told = "names no file of credentials" if os.environ.get(VARIABLE) else "is not set"
        raise Misconfigured(f"{VARIABLE} {told}", code="credentials_missing") from error
    except GoogleAuthError as error:
        if isinstance(error, TransportError) or error.retryable:
            raise Unavailable("no token can be had from Google now") from error
        told = f"{VARIABLE} is of no use: {type(error).__name__} on the way to a token"
        raise Misconfigured(told) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        # What google-auth raises for a file that is no JSON, or has a key that is none.
        raise Misconfigured(f"{VARIABLE} cannot be read: {type(error).__name__}") from error
    return Token(source, str(source.token))


def _source(wire: Request) -> Credentials:
    import google.auth
    from google.oauth2 import service_account

    found, _ = google.auth.default(scopes=SCOPES, request=wire)
    if isinstance(found, service_account.Credentials):
        # Signed here, and taken by Cloud Storage as it is: nobody has to be asked for a token.
        found = found.with_always_use_jwt_access(True)
    return found


def _wire() -> Request:
    import urllib3
    from google.auth.transport import urllib3 as transport

    limits = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    return transport.Request(urllib3.PoolManager(timeout=limits, retries=False))
