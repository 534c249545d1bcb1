"""Every bad argument is refused by its field, in words that do not repeat the value."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import ferryman
from ferryman import requests
from ferryman.errors import InvalidArguments
from tests.client.conftest import CHARGE

MAIL = {"to": "ada@example.com", "subject": "Hello", "text": "Hello Ada"}
BULK = {"recipients": [{"to": "ada@example.com"}], "subject": "Hello", "text": "Hello"}
SYNC = {"source": "file:///srv/photos", "destination": "s3://backup/photos"}
REFUND = {"charge": "0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11"}
GOOD: dict[str, dict[str, Any]] = {
    "charge": CHARGE,
    "refund": REFUND,
    "send_email": MAIL,
    "bulk_email": BULK,
    "sync_objects": SYNC,
}
DEEP: Any = "end"
for _ in range(40):
    DEEP = {"a": DEEP}

BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("charge", {"amount": 12.5}, "amount", "minor units"),
    ("charge", {"amount": 1250.0}, "amount", "minor units"),
    ("charge", {"amount": "1250"}, "amount", "minor units"),
    ("charge", {"amount": True}, "amount", "minor units"),
    ("charge", {"amount": None}, "amount", "minor units"),
    ("charge", {"amount": 0}, "amount", "greater than 0"),
    ("charge", {"amount": -1}, "amount", "greater than 0"),
    ("charge", {"amount": 100_000_000}, "amount", "at most 99999999"),
    ("charge", {"amount": 10**5000}, "amount", "at most"),
    ("charge", {"amount": float("nan")}, "amount", "minor units"),
    ("charge", {"currency": "usx"}, "currency", "ISO 4217"),
    ("charge", {"currency": "us"}, "currency", "ISO 4217"),
    ("charge", {"currency": "xau"}, "currency", "ISO 4217"),
    ("charge", {"currency": "usd "}, "currency", "ISO 4217"),
    ("charge", {"currency": "US\u017f"}, "currency", "ISO 4217"),
    ("charge", {"currency": 840}, "currency", "text"),
    ("charge", {"customer": ""}, "customer", "not be empty"),
    ("charge", {"customer": "u" * 256}, "customer", "at most 255"),
    ("charge", {"customer": "user\n42"}, "customer", "line breaks"),
    ("charge", {"customer": "user\ud800"}, "customer", "Unicode"),
    ("charge", {"payment_method": "pm\x00"}, "payment_method", "control characters"),
    ("charge", {"description": "a\x00b"}, "description", "NUL"),
    ("charge", {"metadata": []}, "metadata", "names and values"),
    ("charge", {"metadata": {"order": 42}}, "metadata.order", "text"),
    ("charge", {"metadata": {"": "x"}}, "metadata.", "not be empty"),
    ("charge", {"metadata": {"k" * 41: "x"}}, "metadata." + "k" * 41, "at most 40"),
    ("charge", {"metadata": {"order": "x" * 501}}, "metadata.order", "at most 500"),
    ("charge", {"metadata": {str(n): "x" for n in range(51)}}, "metadata", "at most 50"),
    ("charge", {"metadata": {"job": "x"}}, "metadata", "`job`"),
    ("charge", {"metadata": {"order": "a\x00"}}, "metadata.order", "NUL"),
    ("charge", {"metadata": {"order": "\ud800"}}, "metadata.order", "Unicode"),
    ("charge", {"ammount": 1}, "ammount", "did you mean `amount`?"),
    ("charge", {"zzz": 1}, "zzz", "there are customer"),
    ("charge", {"a\nb": 1}, "a?b", "not an argument"),
    ("refund", {"charge": ""}, "charge", "not be empty"),
    ("refund", {"amount": 0}, "amount", "greater than 0"),
    ("refund", {"amount": 2.5}, "amount", "whole number"),
    ("refund", {"reason": "because"}, "reason", "'duplicate', 'fraudulent'"),
    ("send_email", {"to": "ada"}, "to", "e-mail address"),
    ("send_email", {"to": "eve@example"}, "to", "e-mail address"),
    ("send_email", {"to": "ada@example.com, eve@example.com"}, "to", "e-mail address"),
    ("send_email", {"to": "Ada <ada@example.com>"}, "to", "e-mail address"),
    ("send_email", {"to": "ada@example.com\r\nBcc: eve@example.com"}, "to", "line breaks"),
    ("send_email", {"subject": "Hello\r\nBcc: eve@example.com"}, "subject", "line breaks"),
    ("send_email", {"subject": "Hello\u2028Bcc: eve"}, "subject", "line breaks"),
    ("send_email", {"sender": "a@example.com\nX: y"}, "sender", "line breaks"),
    ("send_email", {"reply_to": "a@example.com\rX: y"}, "reply_to", "line breaks"),
    ("send_email", {"text": None}, "template", "unless there is a text or html"),
    ("send_email", {"subject": None}, "subject", "begins with d-"),
    ("send_email", {"subject": None, "template": "welcome"}, "subject", "begins with d-"),
    ("send_email", {"data": {"a": [1, {"b": float("inf")}]}}, "data.a.1.b", "finite"),
    ("send_email", {"data": {"a": 2**64}}, "data.a", "64 bits"),
    ("send_email", {"data": {"a": {1: "x"}}}, "data.a", "text for each name"),
    ("send_email", {"data": {"a": {1, 2}}}, "data.a", "must be JSON"),
    ("send_email", {"data": DEEP}, "data." + "a." * 30 + "a", "nested deeper"),
    ("bulk_email", {"recipients": []}, "recipients", "at least 1"),
    ("bulk_email", {"recipients": "ada@example.com"}, "recipients", "list"),
    ("bulk_email", {"recipients": ["ada@example.com"]}, "recipients.0", "names and values"),
    ("bulk_email", {"recipients": [{"to": "a"}, {"to": ""}]}, "recipients.1.to", "not be empty"),
    ("bulk_email", {"recipients": [{"to": "a" * 321}]}, "recipients.0.to", "at most 320"),
    ("bulk_email", {"recipients": [{"to": "a", "name": "b"}]}, "recipients.0.name", "not an arg"),
    (
        "bulk_email",
        {"recipients": [{"to": "a", "data": {"n": "\x00"}}]},
        "recipients.0.data.n",
        "NUL",
    ),
    ("bulk_email", {"text": None}, "template", "unless"),
    ("sync_objects", {"source": "/srv/photos"}, "source", "begin with"),
    ("sync_objects", {"source": "file://srv/photos"}, "source", "absolute path"),
    ("sync_objects", {"source": "file:///"}, "source", "below the root"),
    ("sync_objects", {"source": "file:///srv/../etc"}, "source", "`..`"),
    ("sync_objects", {"source": "file:///srv/a\nb"}, "source", "line breaks"),
    ("sync_objects", {"source": "http://example.com"}, "source", "begin with"),
    ("sync_objects", {"destination": "s3://"}, "destination", "name of a bucket"),
    ("sync_objects", {"destination": "s3://Backup"}, "destination", "name of a bucket"),
    ("sync_objects", {"destination": "s3://a..b/x"}, "destination", "name of a bucket"),
    ("sync_objects", {"destination": "s3://backup/a/../b"}, "destination", "`..`"),
    ("sync_objects", {"destination": "s3://backup//b"}, "destination", "empty"),
    ("sync_objects", {"destination": "file:///srv/photos/in"}, "destination", "outside"),
    ("sync_objects", {"include": ["[a"]}, "include.0", "`[` without its `]`"),
    ("sync_objects", {"exclude": ["a", "/b"]}, "exclude.1", "begin with a slash"),
    ("sync_objects", {"exclude": "*.tmp"}, "exclude", "a list"),
    ("sync_objects", {"exclude": ["a"] * 101}, "exclude", "at most 100"),
    ("sync_objects", {"compare": "mtime"}, "compare", "'checksum' or 'size'"),
    ("sync_objects", {"max_delete": 10}, "max_delete", "only with `delete`"),
    ("sync_objects", {"force": True}, "force", "only with `delete`"),
    ("sync_objects", {"delete": True, "max_delete": 101}, "max_delete", "at most 100"),
    ("sync_objects", {"delete": True, "max_delete": 5, "force": True}, "force", "only one"),
    ("sync_objects", {"concurrency": 65}, "concurrency", "at most 64"),
    ("sync_objects", {"bandwidth": 10}, "bandwidth", "at least 1024"),
    (
        "sync_objects",
        {"destination": "file:///srv/copy", "encryption": "AES256"},
        "encryption",
        "is a bucket",
    ),
    ("sync_objects", {"delete": "yes"}, "delete", "true or false"),
    ("sync_objects", {"dry_run": 1}, "dry_run", "true or false"),
    (
        "sync_objects",
        {"source": "s3://backup/photos/", "destination": "s3://backup/photos"},
        "destination",
        "outside the source",
    ),
    ("sync_objects", {"source": "s3://backup"}, "destination", "outside the source"),
]


@pytest.mark.parametrize(("kind", "change", "field", "words"), BAD)
def test_refused(kind: str, change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        requests.validate(kind, {**GOOD[kind], **change})
    assert refused.value.field == field
    assert words in refused.value.message
    for value in change.values():
        if isinstance(value, str) and len(value) > 5:
            assert value not in str(refused.value)


@pytest.mark.parametrize("kind", GOOD)
def test_each_required_argument_is_named_when_it_is_missing(kind: str) -> None:
    for name, field in requests.kinds()[kind].model_fields.items():
        if field.is_required():
            rest = {key: value for key, value in GOOD[kind].items() if key != name}
            with pytest.raises(InvalidArguments, match=f"{name}: is required"):
                requests.validate(kind, rest)


@pytest.mark.parametrize("kind", ["nope", "", "Charge", "request", None, 3, ["charge"]])
def test_an_unknown_kind_is_told_which_there_are(kind: Any) -> None:
    with pytest.raises(InvalidArguments, match="kind: must be one of bulk_contacts, bulk_email, "):
        requests.validate(kind, {})


@pytest.mark.parametrize("args", [None, [], "{}"])
def test_arguments_that_are_no_object(args: Any) -> None:
    with pytest.raises(InvalidArguments, match="args: must be an object"):
        requests.validate("charge", args)


def test_a_misspelt_argument_comes_before_the_one_that_is_missing() -> None:
    given = {**CHARGE, "ammount": 1250}
    del given["amount"]
    with pytest.raises(InvalidArguments, match=r"ammount: .* did you mean `amount`"):
        requests.validate("charge", given)


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(InvalidArguments, match="1: is not an argument"):
        requests.validate("charge", {1: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        *GOOD.items(),
        ("charge", {**CHARGE, "amount": 99_999_999, "metadata": {"order": "42\n43"}}),
        ("charge", {**CHARGE, "description": "Zwei Bücher\nund ein Heft"}),
        ("refund", {**REFUND, "amount": 1, "reason": "duplicate"}),
        ("send_email", {"to": "ada@example.com", "template": "d-1", "data": {"n": [1, 2.5, None]}}),
        ("bulk_email", {**BULK, "recipients": [{"to": "no address"}, {"to": "a"}]}),
        ("sync_objects", {"source": "gs://my_bucket", "destination": "file:///srv/a b%20"}),
        ("sync_objects", {"source": "s3://backup/a", "destination": "s3://backup/ab"}),
        ("sync_objects", {**SYNC, "delete": True, "dry_run": False}),
        ("sync_objects", {**SYNC, "destination": "file:///srv/copy"}),
        ("sync_objects", {**SYNC, "delete": True, "max_delete": 0}),
        ("sync_objects", {**SYNC, "include": ["**/*.jpg"], "exclude": ["drafts/**", "[!a]?"]}),
        ("sync_objects", {**SYNC, "compare": "size", "concurrency": 64, "bandwidth": 10_000_000}),
        ("sync_objects", {**SYNC, "storage_class": "STANDARD_IA", "encryption": "aws:kms:key"}),
    ],
)
def test_accepted_and_kept_as_given(kind: str, args: dict[str, Any]) -> None:
    assert requests.validate(kind, args).args() == args


def test_what_is_read_is_normalised_and_what_is_stored_is_not() -> None:
    charge = ferryman.Charge(**{**CHARGE, "currency": "USD", "description": None})
    assert charge.currency == "usd"
    assert charge.args() == {**CHARGE, "currency": "USD"}
    mail = ferryman.SendEmail(to="Ada@Example.COM", subject="s", text="t")
    assert (mail.to, mail.args()["to"]) == ("Ada@example.com", "Ada@Example.COM")


def test_recipients_may_be_typed() -> None:
    asked = ferryman.BulkEmail(
        recipients=[ferryman.Recipient(to="a@example.com", data={"n": 1})], template="d-1"
    )
    assert asked.args()["recipients"] == [{"to": "a@example.com", "data": {"n": 1}}]


def test_a_request_cannot_be_changed_but_travels() -> None:
    charge = ferryman.Charge(**CHARGE)
    with pytest.raises(ValueError, match="frozen"):
        charge.amount = 1
    assert pickle.loads(pickle.dumps(charge)).args() == CHARGE


def test_the_folder_is_looked_for_only_when_asked(tmp_path: Path) -> None:
    there = {"source": f"file://{tmp_path}", "destination": "s3://backup"}
    requests.validate("sync_objects", there).check_here()
    gone = requests.validate("sync_objects", {**there, "source": f"file://{tmp_path}/gone"})
    with pytest.raises(InvalidArguments, match="source: is not a folder on this machine"):
        gone.check_here()
