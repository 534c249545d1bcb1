"""Certificates and deliveries as PayPal makes them, with keys that are made when they are used."""

from __future__ import annotations

import base64
import datetime as dt
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters._base import Delivery

NAME = "messageverificationcerts.paypal.com"
PATH = "/v1/notifications/certs/CERT-360caa42-fca2a594"
URL = f"https://api.paypal.com{PATH}"
HEADERS = (
    "paypal-transmission-id",
    "paypal-transmission-time",
    "paypal-transmission-sig",
    "paypal-cert-url",
    "paypal-auth-algo",
)
EVENT: dict[str, Any] = {
    "id": "WH-58D329510W468432D-8HN650336L201105X",
    "create_time": "2026-11-28T10:00:00.940Z",
    "event_type": "PAYMENT.CAPTURE.COMPLETED",
    "resource_type": "capture",
    "resource": {"id": "3C679366HH908993F"},
}
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def key(name: str, size: int) -> Key:
    """An authority's is quick to make; PayPal signs with RSA."""
    if name.startswith("leaf"):
        return rsa.generate_private_key(65537, size)
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    name: str,
    issuer: str,
    *,
    of: str | None = None,
    authority: bool | None = False,
    names: tuple[str, ...] = (),
    days: tuple[int, int] = (-1, 90),
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
    size: int = 2048,
) -> x509.Certificate:
    """`name`: its subject; `of`: whose key it vouches for; `days`: its time, from today."""
    now, signer, own = dt.datetime.now(dt.UTC), key(issuer, 2048), key(of or name, size)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    if authority:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=False, content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                encipher_only=False, decipher_only=False,
            ),
            True,
        )  # fmt: skip
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(alternative, False)
    if usage and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    return builder.sign(signer, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


class Pki:
    """A root, an authority below it, and PayPal's certificate."""

    def __init__(self) -> None:
        self.root = certificate("root", "root", authority=True)
        self.between = certificate("between", "root", authority=True)
        self.leaf = self.made()

    def made(self, name: str = NAME, **changes: Any) -> x509.Certificate:
        """One of PayPal's, or nearly so."""
        wish = {"of": "leaf", "names": (name,)} | changes
        return certificate(name, wish.pop("issuer", "between"), **wish)

    def chain(self, leaf: x509.Certificate | None = None) -> bytes:
        return pem(leaf or self.leaf, self.between)

    def root_pem(self) -> str:
        return pem(self.root).decode()

    def delivery(
        self, body: bytes, webhook: str, *, url: str = URL, age: float = 0, by: str = "leaf"
    ) -> Delivery:
        """As PayPal sends and signs it, for one of our webhooks' ids."""
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
        time, number = at.strftime("%Y-%m-%dT%H:%M:%SZ"), "69cd13f0-d67a-11e5-baa3-778b53f4ae55"
        message = f"{number}|{time}|{webhook}|{zlib.crc32(body)}".encode()
        owner = key(by, 1024 if "short" in by else 2048)
        assert isinstance(owner, rsa.RSAPrivateKey)
        signature = owner.sign(message, padding.PKCS1v15(), hashes.SHA256())
        values = (number, time, base64.b64encode(signature).decode(), url, "SHA256withRSA")
        return Delivery(dict(zip(HEADERS, values, strict=True)), body)


@cache
def pki() -> Pki:
    return Pki()


@contextmanager
def serving(
    files: Mapping[str, bytes | tuple[int, bytes]], asked: list[str] | None = None
) -> Iterator[str]:
    """The certificates' server on loopback. A file may have a status of its own; `asked` notes the
    paths that are asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            found = files.get(self.path, (404, b""))
            status, body = found if isinstance(found, tuple) else (200, found)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
