"""What proves that a webhook is PayPal's? A root of this fake's own, and a certificate below it.

The root is kept in the sandbox's folder, so that an application that trusts it still does when the
sandbox is started again; the certificate that signs is made anew in each process.
"""

import datetime
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from functools import cached_property, lru_cache
from pathlib import Path
from zlib import crc32

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_FILE = "paypal-root.pem"
KEY_FILE = "paypal-root.key"
SIGNER = "messageverificationcerts.paypal.com"
LIFETIME = datetime.timedelta(days=3650)
CERTS = "/v1/notifications/certs/"
HOST = "https://api-m.paypal.com"
ALGORITHM = "SHA256withRSA"
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@lru_cache(maxsize=16)
def authority(folder: Path) -> "Authority":
    """The one that keeps its root in this folder."""
    return Authority(folder)


@lru_cache(maxsize=1)
def _signing_key() -> rsa.RSAPrivateKey:
    """Takes up to a tenth of a second; one for the whole process is enough."""
    return rsa.generate_private_key(65537, 2048)


class Authority:
    """A root certificate, in the folder's file for applications, and what it vouches for."""

    def __init__(self, folder: Path) -> None:
        try:
            self._key, self._root = _load(folder)
        except (OSError, ValueError):
            self._key, self._root = _make(folder)

    @cached_property
    def _chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """The signing certificate and the one between it and the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        between = _certificate(
            "Ferryman sandbox intermediate", key.public_key(), self._root, self._key
        )
        return _certificate(SIGNER, _signing_key().public_key(), between, key), between

    @property
    def url(self) -> str:
        """Where PayPal says that the signing certificate is."""
        number = f"{self._chain[0].serial_number:040x}"
        return f"{HOST}{CERTS}CERT-{number[:8]}-{number[8:16]}-{number[16:24]}"

    def pem(self, id: str) -> bytes | None:
        """What is to be had under a certificate's id: itself and the one above it."""
        if self.url != f"{HOST}{CERTS}{id}":
            return None
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self._chain)

    def sign(self, transmission: str, time: str, webhook: str, body: bytes) -> str:
        signature = _signing_key().sign(
            _signed(transmission, time, webhook, body), padding.PKCS1v15(), hashes.SHA256()
        )
        return b64encode(signature).decode()

    def verifies(
        self, signature: str, transmission: str, time: str, webhook: str, body: bytes
    ) -> bool:
        try:
            _signing_key().public_key().verify(
                b64decode(signature, validate=True),
                _signed(transmission, time, webhook, body),
                padding.PKCS1v15(),
                hashes.SHA256(),
            )
        except (InvalidSignature, NotBase64, ValueError):
            return False
        return True


def _signed(transmission: str, time: str, webhook: str, body: bytes) -> bytes:
    """What is signed: of the body, no more than its checksum."""
    return f"{transmission}|{time}|{webhook}|{crc32(body)}".encode()


def _load(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Raises OSError or ValueError where an earlier process left none that fit."""
    key = serialization.load_pem_private_key((folder / KEY_FILE).read_bytes(), None)
    root = x509.load_pem_x509_certificate((folder / ROOT_FILE).read_bytes())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise ValueError("the key is not the certificate's")
    return key, root


def _make(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Ferryman sandbox root", key.public_key(), None, key)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(folder / KEY_FILE, secret, 0o600)
    _write(folder / ROOT_FILE, root.public_bytes(serialization.Encoding.PEM), 0o644)
    return key, root


def _write(path: Path, content: bytes, mode: int) -> None:
    """Puts the file there as a whole."""
    passing = path.with_suffix(".new")
    passing.touch(mode)
    passing.write_bytes(content)
    os.replace(passing, path)


def _certificate(
    name: str,
    key: PublicKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate for `key`: a root where there is no issuer, the last one for PayPal's host."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issues = name != SIGNER
    builder = (
        x509.CertificateBuilder(
            issuer_name=issuer.subject if issuer else subject,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + LIFETIME,
        )
        .add_extension(x509.BasicConstraints(issues, None), critical=True)
        .add_extension(_usage(issues), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not issues:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        ).add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        key_cert_sign=issues,
        crl_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
