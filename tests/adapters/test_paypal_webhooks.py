"""PayPal's webhooks: which certificates are trusted, and what an event makes us look at."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from adapters import _certificates, _paypal_webhooks
from adapters._base import Event, Forged, NoEvent, Unavailable
from adapters._certificates import Certificates
from adapters._news import DisputeNews, PaymentNews, RefundNews
from adapters.paypal import Adapter
from tests.adapters import doubles
from tests.adapters.paypal_double import CAPTURE, HOLD, SESSION, capture, hold, order, refund
from tests.adapters.paypal_pki import EVENT, NAME, PATH, URL, Pki, certificate, pem, pki, serving

WEBHOOK = "8PT597110X687430LKGECATA"
BODY = json.dumps(EVENT).encode()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYPAL_WEBHOOK_ID", WEBHOOK)
    monkeypatch.setenv("PAYPAL_CERT_ROOT", pki().root_pem())
    monkeypatch.setattr(_paypal_webhooks, "CERTIFICATES", Certificates())


class Server:
    """The certificates that are served, and which of them were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {PATH: pki().chain()}
        self.asked: list[str] = []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    with serving(state.files, state.asked) as url:
        monkeypatch.setenv("PAYPAL_BASE_URL", url)
        yield state


async def receive(**changes: Any) -> Event:
    (event,) = await Adapter().receive(pki().delivery(BODY, WEBHOOK, **changes))
    return event


async def test_what_paypal_signed_is_taken(server: Server) -> None:
    event = await receive()

    assert (event.id, event.type) == (EVENT["id"], "PAYMENT.CAPTURE.COMPLETED")
    assert event.at.isoformat() == "2026-11-28T10:00:00.940000+00:00"
    assert event.payload == EVENT


async def test_a_certificate_is_fetched_once(server: Server) -> None:
    await asyncio.gather(*(receive() for _ in range(50)))
    await receive()

    assert server.asked == [PATH]


async def test_who_gives_up_leaves_the_certificate_to_the_others(server: Server) -> None:
    first, second = asyncio.create_task(receive()), asyncio.create_task(receive())
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).id == EVENT["id"]
    assert server.asked == [PATH]


async def test_the_root_may_be_a_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYPAL_CERT_ROOT", str(tmp_path / "root.pem"))
    with pytest.raises(Unavailable, match="PAYPAL_CERT_ROOT"):
        await receive()

    _paypal_webhooks.CERTIFICATES = Certificates()
    (tmp_path / "root.pem").write_text(pki().root_pem())
    assert (await receive()).id == EVENT["id"]


def chains() -> dict[str, bytes]:
    """Chains that lead to nothing, by what is wrong with them."""
    made = pki().made
    stranger = certificate("root", "stranger", of="stranger", authority=True)
    no_authority = certificate("between", "root", of="between", authority=False)
    unsaid = certificate("between", "root", of="between", authority=None)
    return {
        "another's name": pki().chain(made("www.example.com")),
        "a name that only looks so": pki().chain(made("api.paypal.com.evil.io")),
        "another's name after ours": pki().chain(made("notpaypal.com")),
        "expired": pki().chain(made(days=(-90, -1))),
        "not valid yet": pki().chain(made(days=(1, 90))),
        "signed by itself": pem(made(issuer=NAME, of="leaf", authority=True)),
        "of another root": pem(certificate(NAME, "stranger", of="leaf", names=(NAME,)), stranger),
        "without what is between": pem(pki().leaf),
        "by who may not issue": pem(pki().leaf, no_authority),
        "by who does not say so": pem(pki().leaf, unsaid),
        "by an expired authority": pem(
            pki().leaf, certificate("between", "root", authority=True, days=(-9, -1))
        ),
        "for mail": pki().chain(made(usage=ExtendedKeyUsageOID.EMAIL_PROTECTION)),
        "of another kind of key": pki().chain(made(of="between")),
        "of a short key": pki().chain(made(of="leaf short", size=1024)),
        "empty": b"",
        "no certificate": b"<html>",
        "half of one": pki().chain()[:500],
        "huge": pki().chain() + b" " * 100_000,
    }


@pytest.mark.parametrize("wrong", sorted(chains()))
async def test_a_certificate_that_is_not_trusted(server: Server, wrong: str) -> None:
    server.files[PATH] = chains()[wrong]

    with pytest.raises(Forged) as raised:
        await receive(by="leaf short" if wrong == "of a short key" else "leaf")

    assert "paypal.com" not in str(raised.value)


@pytest.mark.parametrize(
    "leaf",
    [
        {"names": ()},  # by its common name alone
        {"name": "*.paypal.com"},
        {"name": "messageverificationcerts.sandbox.paypal.com"},
        {"usage": None, "authority": None},
        {"issuer": "root"},
    ],
)
async def test_certificates_that_an_operator_makes_by_hand(
    server: Server, leaf: dict[str, Any]
) -> None:
    server.files[PATH] = pki().chain(pki().made(**leaf))

    assert (await receive()).id == EVENT["id"]


async def test_by_public_roots_a_certificate_is_one_of_a_server() -> None:
    roots, made = _certificates.verification.Store([pki().root]), pki().made

    def verified(leaf: Any) -> Any:
        return _certificates.verified([leaf, pki().between], roots, own=False)

    assert verified(pki().leaf).valid()
    assert verified(made("*.paypal.com")).valid()
    mail = made(usage=ExtendedKeyUsageOID.EMAIL_PROTECTION)
    for leaf in (made(names=()), mail, made("www.example.com")):
        with pytest.raises(Forged):
            verified(leaf)


async def test_without_a_root_of_ours_the_public_ones_count(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PAYPAL_CERT_ROOT")
    asked: list[str] = []

    async def body(address: str) -> bytes:
        asked.append(address)
        return pki().chain()

    monkeypatch.setattr(_certificates, "_body", body)
    with pytest.raises(Forged):
        await receive()
    # From PayPal itself, wherever our requests go.
    assert asked == [URL]

    (tmp_path / "roots.pem").write_text(pki().root_pem())
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "roots.pem"))
    _certificates._public_roots.cache_clear()
    _paypal_webhooks.CERTIFICATES = Certificates()
    try:
        assert (await receive(url=URL.replace("api.paypal", "API.PayPal"))).id == EVENT["id"]
    finally:
        _certificates._public_roots.cache_clear()
    assert asked == [URL, URL]


async def test_the_public_roots_can_be_read() -> None:
    _certificates._public_roots.cache_clear()
    assert _certificates._public_roots() is _certificates._public_roots()


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com" + PATH,
        "https://paypal.com.evil.io" + PATH,
        "https://evilpaypal.com" + PATH,
        "https://api.paypal.com@evil.io" + PATH,
        "https://evil.io:x@api.paypal.com" + PATH,
        "https://evil.io\\@api.paypal.com" + PATH,
        "https://evil.io#.paypal.com" + PATH,
        "https://evil.io/.paypal.com" + PATH,
        "https://api.paypal.com:8443" + PATH,
        "https://api.paypal.com." + PATH,
        "https://api.paypal.com",
        "https://api.paypal.com/",
        "https://api.paypal.com/a/../b",
        "https://api.paypal.com//a",
        "https://api.paypal.com" + PATH + "?a=1",
        "https://api.paypal.com" + PATH + "#a",
        "https://api.paypal.com" + PATH + "\n",
        "https://api.pa\u0443pal.com" + PATH,
        "https://.paypal.com" + PATH,
        "https://127.0.0.1" + PATH,
        "file:///etc/passwd",
        " " + URL,
        "",
    ],
)
async def test_an_address_that_is_not_paypals(server: Server, url: str) -> None:
    with pytest.raises(Forged):
        await receive(url=url)

    assert server.asked == []


async def test_what_cannot_be_fetched_is_sent_again(server: Server) -> None:
    server.files[PATH] = (503, b"")
    with pytest.raises(Unavailable):
        await receive()
    server.files[PATH] = pki().chain()
    with pytest.raises(Unavailable):
        await receive()  # not asked again at once

    assert server.asked == [PATH]
    _paypal_webhooks.CERTIFICATES._failed.clear()
    assert (await receive()).id == EVENT["id"]


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYPAL_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await receive()


async def test_a_redirect_is_not_followed(server: Server) -> None:
    server.files["/elsewhere"] = pki().chain()
    for status in (301, 302, 307, 404):
        server.files[PATH] = (status, pki().chain())
        _paypal_webhooks.CERTIFICATES = Certificates()
        with pytest.raises(Forged):
            await receive()

    assert set(server.asked) == {PATH}


async def test_a_slow_server_does_not_hold_the_door(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_certificates, "FETCH_SECONDS", 0.05)
    silent = await asyncio.start_server(lambda r, w: asyncio.sleep(1), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    monkeypatch.setenv("PAYPAL_BASE_URL", f"http://127.0.0.1:{port}")

    with pytest.raises(Unavailable):
        await receive()
    silent.close()


async def test_what_is_kept_has_bounds(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_certificates, "MOST_KEPT", 2)
    monkeypatch.setattr(_certificates, "MOST_FAILED", 2)
    kept = _paypal_webhooks.CERTIFICATES
    for number in range(4):
        server.files[f"{PATH}{number}"] = pki().chain()
        await receive(url=f"{URL}{number}")
        with pytest.raises(Forged):
            await receive(url=f"{URL}x{number}")
    assert (len(kept._kept), len(kept._failed), kept._fetches) == (2, 2, {})

    asked = len(server.asked)
    await receive(url=f"{URL}3")
    assert len(server.asked) == asked
    await receive(url=f"{URL}0")
    assert len(server.asked) == asked + 1


async def test_a_stranger_cannot_have_us_ask_paypal_without_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_certificates, "MOST_FETCHES", 3)
    await receive()
    asked = [receive(url=f"{URL}{number}") for number in range(20)]

    errors = await asyncio.gather(*asked, receive(), return_exceptions=True)

    assert len(server.asked) == 4
    assert [type(error) for error in errors] == [Forged] * 3 + [Unavailable] * 17 + [Event]


async def test_a_certificate_that_runs_out_is_not_trusted_any_more(server: Server) -> None:
    await receive()
    kept = _paypal_webhooks.CERTIFICATES._kept
    ((place, found),) = kept.items()
    server.files[PATH] = chains()["expired"]
    for over in (
        replace(found, until=found.since),
        replace(found, since=found.until + timedelta(days=1)),
    ):
        kept[place] = over
        _paypal_webhooks.CERTIFICATES._failed.clear()
        with pytest.raises(Forged):
            await receive()


def test_a_certificate_is_valid_no_longer_than_all_above_it() -> None:
    between = certificate("between", "root", authority=True, days=(0, 7))
    roots = _certificates.verification.Store([pki().root])

    found = _certificates.verified([pki().leaf, between], roots, own=True)

    assert (found.since, found.until) == (between.not_valid_before_utc, between.not_valid_after_utc)


@pytest.mark.parametrize("algorithm", ["", "SHA1withRSA", "none", "SHA256withECDSA"])
async def test_another_algorithm(server: Server, algorithm: str) -> None:
    good = pki().delivery(BODY, WEBHOOK)
    with pytest.raises(Forged):
        await Adapter().receive(
            replace(good, headers={**good.headers, "paypal-auth-algo": algorithm})
        )
    assert server.asked == []


async def test_a_signature_by_another_certificate_of_paypals(server: Server) -> None:
    with pytest.raises(Forged):
        await receive(by="leaf of another")


def with_checksum(body: bytes, wanted: int) -> bytes:
    """The body with some of its zeros made ones, so that its CRC32 is the wanted one. Each digit
    turns the same bits of it, whatever the others are: so it is a sum of rows of bits."""
    at = body.index(b"0" * 64)
    turned = [body[: at + n] + b"1" + body[at + n + 1 :] for n in range(64)]
    rows = [(zlib.crc32(one) ^ zlib.crc32(body), 1 << n) for n, one in enumerate(turned)]
    missing, chosen = zlib.crc32(body) ^ wanted, 0
    for bit in range(32):
        pivot = next((row for row in rows if row[0] >> bit & 1), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows = [(r ^ pivot[0], c ^ pivot[1]) if r >> bit & 1 else (r, c) for r, c in rows]
        if missing >> bit & 1:
            missing, chosen = missing ^ pivot[0], chosen ^ pivot[1]
    digits = "".join("1" if chosen >> n & 1 else "0" for n in range(64))
    return body.replace(b"0" * 64, digits.encode())


async def test_the_signature_does_not_bind_the_body(server: Server) -> None:
    """Who has seen one delivery can write another that is taken as PayPal's. So no event of
    PayPal's is believed: what it is about is read again."""
    seen = pki().delivery(BODY, WEBHOOK)
    resource = {**capture(value="99999.00"), "note": "0" * 64}
    false = json.dumps({**EVENT, "id": "WH-FALSE", "resource": resource}).encode()

    body = with_checksum(false, zlib.crc32(BODY))
    (event,) = await Adapter().receive(replace(seen, body=body))

    assert event.id == "WH-FALSE"
    (news,) = Adapter().news(event)
    assert isinstance(news, PaymentNews)
    assert (news.told.amount, news.bound) == (9_999_900, False)


def an_event(kind: str, resource: Any) -> Event:
    return _paypal_webhooks.event({**EVENT, "event_type": kind, "resource": resource})


PAID = order("COMPLETED", captures=[capture()])
RELATED = {"supplementary_data": {"related_ids": {"order_id": SESSION}}}


@pytest.mark.parametrize(
    ("kind", "resource", "status", "reference"),
    [
        ("CHECKOUT.ORDER.APPROVED", order("APPROVED"), "processing", None),
        (
            "CHECKOUT.ORDER.COMPLETED",
            order("COMPLETED", captures=[capture()]),
            "succeeded",
            CAPTURE,
        ),
        ("PAYMENT.CAPTURE.COMPLETED", capture(**RELATED), "succeeded", CAPTURE),
        ("PAYMENT.CAPTURE.PENDING", capture("PENDING", **RELATED), "processing", CAPTURE),
        ("PAYMENT.CAPTURE.DENIED", capture("DECLINED", **RELATED), "failed", CAPTURE),
        ("PAYMENT.CAPTURE.DECLINED", capture("DECLINED", **RELATED), "failed", CAPTURE),
        ("PAYMENT.AUTHORIZATION.CREATED", hold(**RELATED), "authorized", HOLD),
        ("PAYMENT.AUTHORIZATION.VOIDED", hold("VOIDED", **RELATED), "cancelled", HOLD),
    ],
)
def test_news_of_payments(kind: str, resource: Any, status: str, reference: str | None) -> None:
    (news,) = Adapter().news(an_event(kind, resource))

    assert isinstance(news, PaymentNews)
    assert (news.told.status, news.told.vendor_reference) == (status, reference)
    assert (news.told.session, news.told.amount, news.job) == (SESSION, 1250, doubles.JOB)
    assert not news.bound
    assert news.at.isoformat() == "2026-11-28T10:00:00.940000+00:00"


@pytest.mark.parametrize(
    "kind",
    ["PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.REFUND.COMPLETED",
     "PAYMENT.REFUND.PENDING", "PAYMENT.REFUND.FAILED"],
)  # fmt: skip
def test_news_of_refunds(kind: str) -> None:
    (news,) = Adapter().news(an_event(kind, refund()))

    assert isinstance(news, RefundNews)
    assert (news.payment, news.told.vendor_reference, news.told.amount) == (CAPTURE, "R1", 500)
    assert news.told.job == doubles.JOB
    assert not news.bound


@pytest.mark.parametrize(
    ("kind", "outcome", "disputed"),
    [
        ("CREATED", None, True),
        ("UPDATED", None, True),
        ("RESOLVED", "RESOLVED_SELLER_FAVOUR", False),
        ("RESOLVED", "CANCELED_BY_BUYER", False),
        ("RESOLVED", "RESOLVED_BUYER_FAVOUR", True),
        ("RESOLVED", "ACCEPTED", True),
        ("RESOLVED", None, True),
    ],
)
def test_news_of_disputes(kind: str, outcome: str | None, disputed: bool) -> None:
    resource = {
        "dispute_id": "PP-D-1",
        "disputed_transactions": [{"seller_transaction_id": CAPTURE}],
    }
    if outcome:
        resource["dispute_outcome"] = {"outcome_code": outcome}

    (news,) = Adapter().news(an_event(f"CUSTOMER.DISPUTE.{kind}", resource))

    assert isinstance(news, DisputeNews)
    assert (news.payment, news.disputed, news.bound) == (CAPTURE, disputed, False)


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("BILLING.SUBSCRIPTION.CREATED", capture()),
        ("PAYMENT.CAPTURE.COMPLETED", None),
        ("PAYMENT.CAPTURE.COMPLETED", []),
        ("PAYMENT.CAPTURE.COMPLETED", {}),
        ("PAYMENT.CAPTURE.COMPLETED", {**capture(), "amount": "12.50"}),
        ("PAYMENT.CAPTURE.COMPLETED", {**capture(), "create_time": 7}),
        ("PAYMENT.CAPTURE.COMPLETED", {**capture(), "links": 7}),
        ("PAYMENT.REFUND.FAILED", {**refund(), "links": [7]}),
        ("CHECKOUT.ORDER.APPROVED", {**order("APPROVED"), "purchase_units": []}),
        ("CHECKOUT.ORDER.APPROVED", {**order("APPROVED"), "purchase_units": [None]}),
        ("CUSTOMER.DISPUTE.CREATED", {"disputed_transactions": 7}),
        ("CUSTOMER.DISPUTE.CREATED", {"disputed_transactions": [{"seller_transaction_id": 7}]}),
        ("CUSTOMER.DISPUTE.CREATED", {"disputed_transactions": [], "dispute_outcome": 7}),
    ],
)
def test_no_news(kind: str, resource: Any) -> None:
    assert list(Adapter().news(an_event(kind, resource))) == []


def test_news_of_what_others_made() -> None:
    (news,) = Adapter().news(
        an_event("PAYMENT.CAPTURE.COMPLETED", {**capture(), "custom_id": "of another shop"})
    )
    assert isinstance(news, PaymentNews)
    assert news.job is None
    assert news.told.session is None


@pytest.mark.parametrize(
    "changes",
    [{"create_time": None}, {"create_time": "soon"}, {"create_time": "0001-01-01T00:00:00Z"},
     {"event_type": ""}, {"event_type": 7}, {"id": ""}, {"id": 7}, {"id": "x" * 300}],
)  # fmt: skip
def test_no_event(changes: dict[str, Any]) -> None:
    with pytest.raises(NoEvent):
        _paypal_webhooks.event({**EVENT, **changes})


def test_a_time_without_a_zone_is_that_of_greenwich() -> None:
    event = _paypal_webhooks.event({**EVENT, "create_time": "2026-11-28T10:00:00"})
    assert event.at.isoformat() == "2026-11-28T10:00:00+00:00"


def test_the_keys_of_these_tests_are_made_anew() -> None:
    assert Pki().leaf.serial_number != pki().leaf.serial_number
