"""Which keys the patterns of a sync mean, and how keys are shown and told apart."""

from __future__ import annotations

import itertools
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman import globs, requests
from ferryman.errors import InvalidArguments
from tasks import _keys
from tasks._filters import Filter

ENDS = {"source": "file:///a", "destination": "s3://bucket"}


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.txt", ["a.txt", "deep/er/a.txt", ".txt"], ["a.txt/b", "a.txts"]),
        ("a?c", ["abc", "x/aüc"], ["ac", "a/c", "abbc"]),
        ("**", ["a", "a/b"], []),
        ("logs/*.gz", ["logs/a.gz"], ["a.gz", "logs/a/b.gz", "x/logs/a.gz"]),
        ("logs/**", ["logs/a", "logs/a/b"], ["logs", "xlogs/a"]),
        ("**/logs/*", ["logs/a", "x/logs/a", "x/y/logs/a"], ["xlogs/a", "logs/a/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "xa/b"]),
        ("cache/", ["cache/a", "x/cache/a/b"], ["cache", "xcache/a"]),
        ("x/cache/", ["x/cache/a"], ["cache/a", "y/x/cache/a"]),
        ("[a-c]1", ["a1", "x/c1"], ["d1", "-1"]),
        ("[!a]1", ["b1"], ["a1", "x//1"]),
        ("[*]", ["*"], ["a"]),
        ("[]]", ["]"], ["["]),
        ("a.b+(c)|d", ["a.b+(c)|d"], ["aab+(c)|d", "d"]),
        ("ü*", ["ü1"], ["u1"]),
        ("a**c", ["abc", "a/b/c"], ["ab"]),
    ],
)
def test_what_a_pattern_means(pattern: str, yes: list[str], no: list[str]) -> None:
    only = Filter(include=[pattern])
    assert [key for key in yes if not only.takes(key)] == []
    assert [key for key in no if only.takes(key)] == []


def test_what_is_excluded_is_out_whatever_includes_it() -> None:
    taking = Filter(include=["*.txt", "docs/**"], exclude=["secret*", "docs/old/"])

    keys = ["a.txt", "docs/a", "docs/old/a", "secret.txt", "x/secret.txt", "a.bin"]
    assert [key for key in keys if taking.takes(key)] == ["a.txt", "docs/a"]
    assert Filter().takes("anything/at all")
    assert not Filter(exclude=["**"]).takes("anything/at all")


def test_a_folder_that_could_not_be_read_is_left_out_only_as_a_whole() -> None:
    assert Filter(include=["*.txt"]).takes_below("closed/")
    assert Filter(exclude=["closed/*", "*.txt"]).takes_below("closed/")
    assert not Filter(exclude=["closed/"]).takes_below("closed/")
    assert not Filter(exclude=["**"]).takes_below("closed/")


@pytest.mark.parametrize("pattern", ["", "/abs", "[a", "a[", "a\0b", "[z-a]", "x" * 1025])
def test_a_pattern_that_cannot_be_is_refused_by_its_field(pattern: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        requests.validate("sync_objects", {**ENDS, "exclude": ["fine", pattern]})
    assert raised.value.field == "exclude.1"


@pytest.mark.parametrize(
    "pattern", ["*a" * 12 + "b", "**a" * 12 + "b", "**/*a" * 12 + "b", "*?" * 12 + "b"]
)
def test_no_pattern_keeps_a_worker_busy(pattern: str) -> None:
    began = time.process_time()
    assert not Filter(include=[pattern]).takes("aa/" * 300 + "a" * 100)
    assert time.process_time() - began < 0.5


PIECES = st.sampled_from(["a", "b", "/", "*", "**", "?", "**/"])
KEYS = ["".join(key) for n in range(1, 6) for key in itertools.product("ab/", repeat=n)]


@given(pattern=st.lists(PIECES, min_size=1, max_size=6).map("".join))
def test_no_place_that_would_fit_is_left_out(pattern: str) -> None:
    if pattern.startswith("/"):
        return
    made, plain = globs.compiled([pattern]), _plain(pattern)
    assert [k for k in KEYS if made.fullmatch(k)] == [k for k in KEYS if plain.fullmatch(k)]


def _plain(pattern: str) -> re.Pattern[str]:
    """The same meaning, by an expression that tries everything."""
    whole = f"{pattern}**" if pattern.endswith("/") else pattern
    whole = whole if "/" in pattern.removesuffix("/") else f"**/{whole}"
    tokens = re.findall(r"(?:^|(?<=/))\*\*/|\*\*|.", whole)
    written = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(written.get(token, re.escape(token)) for token in tokens))


# --- keys


HOSTILE = [
    *("/abs", "..", "a/../b", "p/./dot", "p//empty", "folder/", "back\\slash", "\\\\host\\share"),
    *("nul\0", "tab\there", "line\nbreak", "del\x7f", "caf\udce9", "x" * 1025, "ü" * 513, ""),
    *(".", "./a", "a/..", "C:\\a", "a…0123456789abcdef"),
]


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_keys_are_refused_and_can_be_stored(key: str) -> None:
    assert _keys.refusal(key)
    shown = _keys.shown(key)
    assert "\0" not in shown
    assert len(shown.encode()) <= 1024


@pytest.mark.parametrize(
    "key",
    ["a", ".hidden", "...", "a..b/c", "ü & +=%20#?.bin", "CON", "x" * 1024, "a:b", "a b ", "…"],
)
def test_other_keys_are_themselves(key: str) -> None:
    assert _keys.refusal(key) is None
    assert _keys.shown(key) == key


@given(keys=st.sets(st.text(st.characters(codec=None), max_size=12), min_size=2, max_size=4))
def test_no_two_keys_are_shown_alike(keys: set[str]) -> None:
    storable = {k for k in keys if not re.search("[\ud800-\udc7f\udd00-\udfff]", k)}
    more = storable | {_keys.shown(key) for key in storable}
    assert len({_keys.shown(key) for key in more}) == len(more)


def test_a_key_that_looks_like_what_another_is_shown_as_is_not_carried_over() -> None:
    shown = _keys.shown("tab\there")
    assert shown.startswith("tab%09here…")
    assert _keys.refusal("tab%09here") is None
    assert _keys.refusal(shown)
    assert _keys.shown(shown) != shown


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("README", "readme", True),
        ("a/B", "A/b", True),
        ("straße", "STRASSE", True),
        (unicodedata.normalize("NFC", "é/x"), unicodedata.normalize("NFD", "é/x"), True),
        (unicodedata.normalize("NFC", "É"), unicodedata.normalize("NFD", "é"), True),
        ("ΐ", "ΐ".upper(), True),
        ("\u03b1\u0345\u0301", "\u03b1\u0301\u0345", True),
        ("a", "b", False),
        ("a/b", "a_b", False),
        ("e", "é", False),
    ],
)
def test_names_that_a_file_system_takes_for_the_same(one: str, other: str, alike: bool) -> None:
    assert (_keys.fold(one) == _keys.fold(other)) is alike
    assert -(2**63) <= _keys.fold(one) < 2**63
