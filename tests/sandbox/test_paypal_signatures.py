"""How a webhook of the fake PayPal proves where it is from, checked by hand."""

from __future__ import annotations

import base64
import json
import stat
import threading
import zlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ferryman.testing import Sandbox
from sandbox.paypal.certificates import Authority, authority
from sandbox.state import State
from tests.harness import until
from tests.sandbox.paypal import EVENTS, ORDERS, PayPal, client, connected, issue, vaulted

VERIFY = "/v1/notifications/verify-webhook-signature"
HOST = "messageverificationcerts.paypal.com"


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def headers_of(paypal: PayPal, body: bytes) -> dict[str, str]:
    return {name.lower(): value for name, value in paypal.vendor.signed(body).items()}


def chain(paypal: PayPal, url: str) -> list[x509.Certificate]:
    """What is served where a delivery says its certificate is."""
    answer = paypal.ask("GET", urlsplit(url).path, authorization=None, content_type=None)
    assert answer.status == 200
    return x509.load_pem_x509_certificates(answer.body)


def trusted(root: Path, certificates: list[x509.Certificate], host: str = HOST) -> None:
    """Raises VerificationError."""
    store = Store([x509.load_pem_x509_certificate(root.read_bytes())])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(host))
    verifier.verify(certificates[0], certificates[1:])


def check(headers: Mapping[str, str], body: bytes, webhook: str, leaf: x509.Certificate) -> None:
    """As PayPal describes it, without any code of the fake. Raises InvalidSignature."""
    message = "|".join(
        (
            headers["paypal-transmission-id"],
            headers["paypal-transmission-time"],
            webhook,
            str(zlib.crc32(body)),
        )
    )
    key = leaf.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    signature = base64.b64decode(headers["paypal-transmission-sig"])
    key.verify(signature, message.encode(), padding.PKCS1v15(), SHA256())


def test_a_delivery_is_signed_by_a_chain_below_the_root(paypal: PayPal, state: State) -> None:
    body = b'{"id":"WH-1"}'
    headers = headers_of(paypal, body)
    known = paypal.vendor.webhook_environment(state.folder)
    certificates = chain(paypal, headers["paypal-cert-url"])

    assert headers["paypal-auth-algo"] == "SHA256withRSA"
    assert headers["paypal-cert-url"].startswith("https://api-m.paypal.com/v1/notifications/certs/")
    trusted(Path(known["PAYPAL_CERT_ROOT"]), certificates)
    with pytest.raises(VerificationError):
        trusted(Path(known["PAYPAL_CERT_ROOT"]), certificates, "api.paypal.com")
    with pytest.raises(VerificationError):
        trusted(Path(known["PAYPAL_CERT_ROOT"]), certificates[:1])
    check(headers, body, known["PAYPAL_WEBHOOK_ID"], certificates[0])
    with pytest.raises(InvalidSignature):
        check(headers, body + b" ", known["PAYPAL_WEBHOOK_ID"], certificates[0])
    assert headers_of(paypal, body)["paypal-transmission-id"] != headers["paypal-transmission-id"]
    assert paypal.call("GET", "/v1/notifications/certs/CERT-NONE")[0] == 404


def test_the_root_is_the_same_when_the_sandbox_starts_again(tmp_path: Path) -> None:
    first = connected(State(1, None, tmp_path))
    root = Path(first.vendor.webhook_environment(tmp_path)["PAYPAL_CERT_ROOT"])
    before = root.read_bytes()

    authority.cache_clear()
    second = connected(State(2, None, tmp_path))

    assert root.read_bytes() == before
    url = headers_of(second, b"{}")["paypal-cert-url"]
    assert url != headers_of(first, b"{}")["paypal-cert-url"]
    trusted(root, chain(second, url))
    assert stat.S_IMODE((tmp_path / "paypal-root.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("spoilt", ["nothing", "root", "key"])
def test_a_root_that_cannot_be_read_is_made_anew(tmp_path: Path, spoilt: str) -> None:
    Authority(tmp_path)
    root = tmp_path / "paypal-root.pem"
    before = root.read_bytes()
    if spoilt == "root":
        root.write_bytes(b"spoilt")
    if spoilt == "key":
        (tmp_path / "paypal-root.key").unlink()
    Authority(tmp_path)

    assert (root.read_bytes() == before) is (spoilt == "nothing")


def verification(paypal: PayPal, body: bytes, **changes: str) -> str:
    headers = headers_of(paypal, body)
    given = {
        "auth_algo": headers["paypal-auth-algo"],
        "cert_url": headers["paypal-cert-url"],
        "transmission_id": headers["paypal-transmission-id"],
        "transmission_sig": headers["paypal-transmission-sig"],
        "transmission_time": headers["paypal-transmission-time"],
        "webhook_id": paypal.vendor.webhook_environment(Path())["PAYPAL_WEBHOOK_ID"],
    } | changes
    event = changes.pop("event", body.decode())
    given.pop("event", None)
    text = json.dumps(given)[:-1] + f', "webhook_event": {event}}}'
    status, document = paypal.call("POST", VERIFY, text.encode())
    assert status == 200
    return str(document["verification_status"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "SUCCESS"),
        ({"webhook_id": "OTHER"}, "FAILURE"),
        ({"auth_algo": "SHA1withRSA"}, "FAILURE"),
        ({"cert_url": "https://api-m.paypal.com/v1/notifications/certs/CERT-OTHER"}, "FAILURE"),
        ({"transmission_id": "other"}, "FAILURE"),
        ({"transmission_time": "2026-01-01T00:00:00Z"}, "FAILURE"),
        ({"transmission_sig": "bm9uZQ=="}, "FAILURE"),
        ({"transmission_sig": "%%%"}, "FAILURE"),
        ({"event": '{"b": 2, "a": {"c": "}"}}'}, "FAILURE"),
        ({"event": '{"a":{"c":"}"},"b":2}'}, "FAILURE"),
    ],
)
def test_paypal_verifies_what_it_signed(
    paypal: PayPal, changes: dict[str, str], expected: str
) -> None:
    assert verification(paypal, b'{"a": {"c": "}"}, "b": 2}', **changes) == expected


def test_a_verification_of_the_wrong_form(paypal: PayPal) -> None:
    status, document = paypal.call("POST", VERIFY, {"webhook_event": {}})

    assert (status, issue(document)[0]) == (400, "MISSING_REQUIRED_PARAMETER")


class Listener(HTTPServer):
    """An application that takes webhooks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/webhooks/paypal"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Taker(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_events_are_sent_where_they_are_wanted(sandbox: Sandbox) -> None:
    listener = Listener()
    sandbox.webhooks("paypal", listener.url)
    known = sandbox.environment()
    with client(sandbox) as http:
        http.post(ORDERS, json=vaulted(), headers={"PayPal-Request-Id": "k-1"})
        until(lambda: listener.taken)
        (headers, body) = listener.taken[0]
        listed = http.get(EVENTS).json()["events"]
        path = urlsplit(headers["paypal-cert-url"]).path
        pem = httpx.get(f"{known['PAYPAL_BASE_URL']}{path}", trust_env=False).content
    listener.shutdown()
    listener.server_close()

    assert json.loads(body) == listed[0]
    certificates = x509.load_pem_x509_certificates(pem)
    trusted(Path(known["PAYPAL_CERT_ROOT"]), certificates)
    check(headers, body, known["PAYPAL_WEBHOOK_ID"], certificates[0])
