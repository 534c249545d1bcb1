"""PayPal's certificates, by which its webhooks are verified: fetched from PayPal only, trusted by
their chain, and kept.

PAYPAL_CERT_ROOT is the path of a PEM (or its text) that stands instead of the roots that certifi
brings. The certificates are then fetched from the same path under PAYPAL_BASE_URL; the address
that a delivery names must be one of PayPal's all the same.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

import aiohttp
import certifi
import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters._base import Forged, Unavailable
from adapters._transport import TooLong, Transport, Whole

ROOT = "PAYPAL_CERT_ROOT"
# Whatever else a URL may hold (a user, a port, a query, other letters, dots that lead elsewhere) is
# not one of PayPal's.
ADDRESS = re.compile(
    r"https://((?:[a-z0-9-]+\.)*paypal\.com)((?:/[a-z0-9_~-][a-z0-9_.~-]*)+)", re.IGNORECASE
)
NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9-]+\.)*paypal\.com", re.IGNORECASE)
FETCH_SECONDS = 5.0
CONNECT_SECONDS = 3.0
LONGEST = 64 * 1024
LONGEST_CHAIN = 8
SMALLEST_KEY = 2048
MOST_KEPT = 32
# A stranger may name any address of PayPal's: so many are fetched at once, and remembered in vain.
MOST_FETCHES = 8
MOST_FAILED = 256
FAILED_SECONDS = 10.0


@dataclass(frozen=True)
class Certificate:
    """One whose chain is verified, with the time in which all of the chain is valid."""

    key: rsa.RSAPublicKey
    since: datetime
    until: datetime

    def valid(self) -> bool:
        return self.since <= datetime.now(UTC) <= self.until

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether its owner has signed the message, RSA PKCS#1 v1.5 with SHA-256."""
        try:
            self.key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


Kept = TypeVar("Kept")
Place = tuple[str, str | None]
"""The address of a certificate, and the root that stands instead of certifi's."""


class Certificates:
    """The certificates of this process by their address. Who asks for one that is on its way waits
    for that one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Place, Certificate] = OrderedDict()
        self._failed: OrderedDict[Place, tuple[float, Exception]] = OrderedDict()
        self._fetches: dict[tuple[asyncio.AbstractEventLoop, Place], asyncio.Task[Certificate]] = {}

    async def get(self, url: str, address: str) -> Certificate:
        """The certificate that a delivery names; `address` is that of PayPal's API. Raises Forged,
        or Unavailable where it cannot be had now."""
        place = _place(url, address)
        if (kept := self._kept.get(place)) is not None and kept.valid():
            self._kept.move_to_end(place)
            return kept
        until, failure = self._failed.get(place, (0.0, None))
        if failure is not None and time.monotonic() < until:
            raise type(failure)(*failure.args)
        # Not this delivery's own task: others wait for it too, when this one is given up.
        return await asyncio.shield(self._fetch(place))

    def _fetch(self, place: Place) -> asyncio.Task[Certificate]:
        loop = asyncio.get_running_loop()
        if (task := self._fetches.get((loop, place))) is not None:
            return task
        if len(self._fetches) >= MOST_FETCHES:
            raise Unavailable("too many certificates are being fetched")
        task = self._fetches[loop, place] = loop.create_task(_verified(place))
        task.add_done_callback(lambda done: self._done((loop, place), done))
        return task

    def _done(
        self,
        key: tuple[asyncio.AbstractEventLoop, Place],
        task: asyncio.Task[Certificate],
    ) -> None:
        del self._fetches[key]
        if task.cancelled():
            return
        if (failure := task.exception()) is None:
            _keep(self._kept, key[1], task.result(), MOST_KEPT)
        elif isinstance(failure, Forged | Unavailable):
            _keep(self._failed, key[1], (time.monotonic() + FAILED_SECONDS, failure), MOST_FAILED)


def _keep(kept: OrderedDict[Place, Kept], place: Place, one: Kept, most: int) -> None:
    kept[place] = one
    kept.move_to_end(place)
    if len(kept) > most:
        kept.popitem(last=False)


def _place(url: str, address: str) -> Place:
    """Where to fetch from. Raises Forged for an address that is not PayPal's."""
    if (named := ADDRESS.fullmatch(url)) is None:
        raise Forged("the certificate's address is not one of PayPal's")
    root = os.environ.get(ROOT) or None
    return (address + named[2] if root else f"https://{named[1].lower()}{named[2]}"), root


async def _verified(place: Place) -> Certificate:
    address, root = place
    roots = _own_roots(root) if root else _public_roots()
    try:
        chain = x509.load_pem_x509_certificates(await _body(address))[:LONGEST_CHAIN]
    except ValueError:
        raise Forged("the certificate cannot be read") from None
    return verified(chain, roots, own=root is not None)


async def _body(address: str) -> bytes:
    transport = Transport(connect_seconds=CONNECT_SECONDS, most_bytes=LONGEST)
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            answer = await transport.handle_async_request(httpx.Request("GET", address))
    except TooLong:
        raise Forged("what should be a certificate is too long for one") from None
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise Unavailable("the certificate cannot be fetched") from None
    finally:
        await transport.aclose()
    if answer.status_code == 200:
        return cast(Whole, answer.stream).body
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise Unavailable("the certificate cannot be fetched", status=answer.status_code)
    raise Forged("there is no certificate at the address that is named")


def verified(
    chain: Sequence[x509.Certificate], roots: verification.Store, *, own: bool
) -> Certificate:
    """The first of a chain, if it leads to one of the roots and is PayPal's by name. Raises Forged.

    By public roots it has to be as those of TLS servers are; by a root of the operator's `own` its
    chain, time and name count.
    """
    now = datetime.now(UTC)
    leaf, others = chain[0], list(chain[1:])
    builder = verification.PolicyBuilder().store(roots).time(now)
    try:
        name = _name(leaf)
        if own:
            path = _lenient(builder).verify(leaf, others).chain
        else:
            path = builder.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
    except verification.VerificationError:
        raise Forged("the certificate does not lead to a trusted root, or is out of date") from None
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise Forged("the certificate cannot be read") from None
    key = leaf.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_KEY:
        raise Forged("the certificate's key is not one of RSA, or too short")
    since = max(one.not_valid_before_utc for one in path)
    return Certificate(key, since, min(one.not_valid_after_utc for one in path))


def _lenient(builder: verification.PolicyBuilder) -> verification.ClientVerifier:
    """A chain of authorities, as an operator makes them by hand: without all that is asked of those
    that browsers trust."""
    any_ = verification.Criticality.AGNOSTIC
    everything = verification.ExtensionPolicy.permit_all()
    authority = everything.require_present(x509.BasicConstraints, any_, None)
    leaf = everything.may_be_present(x509.ExtendedKeyUsage, any_, _for_servers)
    return builder.extension_policies(ca_policy=authority, ee_policy=leaf).build_client_verifier()


def _for_servers(_policy: object, _leaf: object, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        raise ValueError("not a server's certificate")


def _name(leaf: x509.Certificate) -> str:
    """PayPal's name in a certificate, a wildcard as one of the names that it stands for."""
    try:
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(one.value) for one in common]
    found = next((name for name in names if NAME.fullmatch(name)), None)
    if found is None:
        raise Forged("the certificate is not PayPal's")
    return found.replace("*", "any")


@lru_cache
def _public_roots() -> verification.Store:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old roots have serial numbers of their own kind
        return verification.Store(
            x509.load_pem_x509_certificates(Path(certifi.where()).read_bytes())
        )


def _own_roots(given: str) -> verification.Store:
    try:
        pem = given.encode() if "-----BEGIN" in given else Path(given).read_bytes()
        return verification.Store(x509.load_pem_x509_certificates(pem))
    except (OSError, ValueError):
        raise Unavailable(f"{ROOT} cannot be read") from None
