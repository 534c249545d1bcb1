"""Money, addresses and locations: properties that hold for any input."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import email_validator
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ferryman import addresses, locations, money

CURRENCIES = ("usd", "JPY", "kwd", "clf")


@pytest.mark.parametrize(
    ("code", "places"), [("usd", 2), ("JPY", 0), ("kwd", 3), ("isk", 0), ("clf", 4)]
)
def test_exponents(code: str, places: int) -> None:
    assert money.exponent(code) == places


@given(st.integers(min_value=-(10**12), max_value=10**12), st.sampled_from(CURRENCIES))
def test_what_is_displayed_reads_back(amount: int, currency: str) -> None:
    shown = money.display(amount, currency)
    number, code = shown.split(" ")
    assert code == currency.upper()
    assert money.to_minor(number, currency) == amount
    assert Decimal(number) == Decimal(amount).scaleb(-money.exponent(currency))


@pytest.mark.parametrize("text", ["12.345", "0.001", "x", "", "NaN", "Infinity", "1e-9"])
def test_no_amount_is_rounded(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        money.to_minor(text, "usd")


@given(st.emails() | st.from_regex(r"[a-z.+-]{1,8}@[a-zA-Z0-9.-]{1,12}", fullmatch=True))
@example("a@b.test")
@example("a@xn--bcher-kva.example.com")
@example(("a" * 65) + "@example.com")
@example("a@" + ".".join(["b" * 60] * 4) + ".com")
@example("a@example.com ")
@example(f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.com")
@example(f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 63}.com")
@example("a@localhost")
@example("@example.com")
@example("a@")
def test_the_short_way_gives_the_verdict_of_the_long_one(address: str) -> None:
    try:
        found = email_validator.validate_email(
            address, check_deliverability=False, test_environment=True, strict=True
        )
        expected = found.normalized
    except email_validator.EmailNotValidError:
        expected = None
    if expected is None:
        assert addresses.problem(address) is not None
    else:
        assert addresses.problem(address) is None
        assert addresses.normalised(address) == expected


def test_a_local_path_becomes_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = locations.parse(locations.file_address(Path("photos of 2030%")))
    assert found == locations.Location("file", "", f"{tmp_path}/photos of 2030%")


@given(st.text(max_size=40).map(lambda path: "file:///" + path) | st.text(max_size=40))
def test_no_accepted_location_leaves_its_root(address: str) -> None:
    try:
        found = locations.parse(address)
    except ValueError:
        return
    assert ".." not in found.path.split("/")
    assert found.remote or found.path.startswith("/")
