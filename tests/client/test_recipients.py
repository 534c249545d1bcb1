"""Lists of recipients: what is read from them, and what a fault is told with."""

from __future__ import annotations

import csv
import io
import json
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from ferryman import recipients
from ferryman.errors import InvalidArguments
from ferryman.recipients import BadList, Reader, Row

HEADER = "to,first_name,city\n"
ADA = {"first_name": "Ada", "city": "London"}


def read(content: str | bytes, format: str, size: int = 1 << 20) -> list[Row]:
    raw = content.encode() if isinstance(content, str) else content
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    return list(recipients.rows(pieces, format))


def fault(content: str | bytes, format: str, size: int = 1 << 20) -> str:
    with pytest.raises(BadList) as refused:
        read(content, format, size)
    return str(refused.value)


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_in_any_pieces_and_encoding(size: int, end: str, encoding: str) -> None:
    lines = [
        "first_name, to ,city",
        "Ada,ada@example.com,London",
        "",
        '"Bob ""the"" B","bob@example.com","a,',
        'b"',
        "Zoë,zoe@example.com,",
    ]
    content = end.join(lines).encode(encoding)
    assert read(content, "csv", size) == [
        (2, "ada@example.com", ADA),
        (4, "bob@example.com", {"first_name": 'Bob "the" B', "city": f"a,{end}b"}),
        (6, "zoe@example.com", {"first_name": "Zoë", "city": ""}),
    ]


def test_csv_is_read_as_pythons_own_module_reads_it() -> None:
    """With fields of every kind, cut anywhere."""
    chance = random.Random(6)
    parts = ["a", "ü", "\u2028", "\x0c", ",", '"', "\n", "\r\n", "\r", ";", " ", "5 "]
    fields = [
        ["".join(chance.choices(parts, k=chance.randrange(6))) for _ in range(2)]
        for _ in range(400)
    ]
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(["to", "one", "two"])
    writer.writerows([f"user{place}@example.com", *both] for place, both in enumerate(fields))
    raw = made.getvalue().encode()
    for _ in range(5):
        reader, found, at = Reader("csv"), list[Row](), 0
        while at < len(raw):
            step = chance.randrange(1, 200)
            found += reader.feed(raw[at : at + step])
            at += step
        found += reader.close()
        assert [list((data or {}).values()) for _, _, data in found] == fields
        assert reader.rows == len(fields)
    starts = [found[0] for found in found]
    oracle = csv.reader(io.StringIO(made.getvalue(), newline=""))
    expected, before = [], 0
    for _ in oracle:
        expected.append(before + 1)
        before = oracle.line_num
    assert starts == expected[1:]


def test_a_list_of_addresses_alone_has_no_data() -> None:
    assert read("to\na@example.com\n  \nb@example.com", "csv") == [
        (2, "a@example.com", None),
        (4, "b@example.com", None),
    ]


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEADER + "a@x.com,A,B\na@x.com,A\n", "line 3: has 2 fields, and the header has 3"),
        (HEADER + '"a\n@x.com",A,B\n\na@x.com,A,B,C\n', "line 5: has 4 fields, and"),
        (HEADER + "a@x.com,A,B\n ,A,B\n", "line 3: has no address in `to`"),
        (HEADER + "a" * 321 + ",A,B\n", "line 2: has more than 320 characters in `to`"),
        (HEADER + 'a@x.com,"A,B\na@x.com,A,B\n', "line 2: opens a quotation mark that is never"),
        (HEADER + 'a@x.com,A,B\na@x.com,"A"x,B\n', "line 3: goes on in a field whose quotation"),
        (HEADER + "a@x.com,A,B\n\nb@x.com,\0,B\n", "line 4: has a NUL character"),
        ("\nemail,name\na@x.com,A\n", "line 2: must name the columns, one of which is `to`"),
        ("to;name\na@x.com;A\n", "line 1: divides its columns by semicolons: let commas"),
        ("to\tname\na@x.com\tA\n", "line 1: divides its columns by tabs"),
        ("to,name,name\na@x.com,A,B\n", "line 1: names a column twice"),
        ("to,,name\na@x.com,A,B\n", "line 1: has no name for column 2"),
        (HEADER, "line 2: is the end, without any recipient"),
        ("", "line 1: is the end, without any recipient"),
    ],
)
def test_a_fault_in_csv_is_told_with_its_line(content: str, told: str, size: int) -> None:
    assert fault(content, "csv", size).startswith(told)


def test_the_first_fault_is_told() -> None:
    ragged = HEADER + "a@x.com,A,B\na@x.com\n"
    assert fault(ragged.encode() + b"\xff", "csv").startswith("line 3: has 1 fields")
    assert fault(ragged + 'a@x.com,"A"x,B\n', "csv").startswith("line 3: has 1 fields")


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_bytes_that_are_no_text_are_told_with_their_line(size: int) -> None:
    latin = (HEADER + "a@x.com,A,B\nz@x.com,Zoë,C\n").encode("latin-1")
    assert fault(latin, "csv", size) == "line 3: is not UTF-8: save the list in that encoding"
    assert fault(b'{"to": "a@x.com"}\n"' + b"\xc3", "jsonl", size).startswith("line 2: is")
    assert fault(b'[{"to": "a@x.com"},\n"' + b"\xff", "json", size).startswith("line 2: ")
    assert fault("to\na@x.com\n".encode("utf-32"), "csv", size) == "line 1: has a NUL character"


def test_what_never_ends_is_not_read_for_ever() -> None:
    assert fault(HEADER + "a" * 1_100_000, "csv") == "line 2: is longer than 1 MiB"
    open_quote = HEADER + 'a@x.com,"' + "b\n" * 70_000
    assert fault(open_quote, "csv").startswith("line 2: has a field of more than 131072 char")
    many = HEADER + ",".join(['"' + "b" * 100_000] * 12)
    assert fault(many, "csv").startswith("line 2: ")
    assert fault('{"to": "' + "a" * 1_100_000, "jsonl") == "line 1: is longer than 1 MiB"
    assert fault('[{"to": "' + "a" * 1_200_000, "json").endswith("or is longer than 1 MiB")


BOTH: list[dict[str, Any]] = [
    {"to": "ada@example.com", "data": {"name": "Zoë \u2028 [}", "n": [1, 2.5, None, True]}},
    {"to": "bob@example.com"},
]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_in_any_pieces_and_encoding(size: int, encoding: str) -> None:
    expected = [(entry["to"], entry.get("data")) for entry in BOTH]
    text = "\r\n\n".join(json.dumps(entry, ensure_ascii=False) for entry in BOTH)
    lines = read(text.encode(encoding), "jsonl", size)
    assert lines == [(1, *expected[0]), (3, *expected[1])]
    for indent in (None, 2):
        whole = f" {json.dumps(BOTH, ensure_ascii=False, indent=indent)}\n"
        entries = read(whole.encode(encoding), "json", size)
        assert entries == [(1, *expected[0]), (2, *expected[1])]


DEEP = '{"a":' * 33 + "1" + "}" * 33
ENTRIES = [
    ('{"to": "a@x.com", "name": "A"}', "has other fields than `to` and `data`"),
    ('{"to": "a@x.com", "data": {}, "name": 1}', "has other fields than `to` and `data`"),
    ('{"data": {}}', "must have text in `to`"),
    ('{"to": 1}', "must have text in `to`"),
    ('{"to": " "}', "has no address in `to`"),
    ('{"to": "%s"}' % ("a" * 321), "has more than 320 characters in `to`"),
    ('{"to": "a@x.com", "data": []}', "must have an object in `data`"),
    ('"a@x.com"', "must be an object such as"),
    ('{"to": "a@x.com", "to": "b@x.com"}', "has a name twice in the same object"),
    ('{"to": "a@x.com", "data": {"n": NaN}}', "has NaN or Infinity"),
    ('{"to": "a@x.com", "data": {"n": 1e999}}', "data.n: must be a finite number"),
    ('{"to": "a@x.com", "data": {"n": "\\u0000"}}', "data.n: must not contain NUL characters"),
    ('{"to": "a@x.com", "data": {"n": "\\ud800"}}', "data.n: must be valid Unicode text"),
    ('{"to": "\\ud800"}', "to: must be valid Unicode text"),
    ('{"to": "a@x.com", "data": {"n": %s}}' % ("9" * 5000), "has a number of too many digits"),
    (f'{{"to": "a@x.com", "data": {DEEP}}}', "data.a.a.a"),
    ("[" * 100_000, "must not be nested deeper than 32 levels"),
]


@pytest.mark.parametrize(("entry", "told"), ENTRIES)
def test_a_fault_in_json_is_told_with_its_place(entry: str, told: str) -> None:
    good = '{"to": "b@x.com"}'
    assert fault(f"{good}\n\n{entry}\n{good}", "jsonl").startswith(f"line 3: {told}")
    assert fault(f"[{good},{good}\n,{entry},{good}]", "json").startswith(f"entry 3: {told}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "entry 1: is not there: the list is never closed"),
        ('{"to": "a@x.com"}', "entry 1: is not there: the whole must be one list"),
        ('[{"to": "a@x.com"}', "entry 1: is the last one: the list is never closed"),
        ('[{"to": "a@x.com"},', "entry 2: is not there: the list is never closed"),
        ('[{"to": "a@x.com"},]', "entry 2: is no JSON"),
        ('[{"to": "a@x.com"} {', "entry 1: is followed by something else than a comma"),
        ('[{"to": "a@x.com"}] x', "entry 2: stands after the end of the list"),
        ("[ ]", "entry 1: is the end, without any recipient"),
    ],
)
def test_a_list_that_is_none(content: str, told: str) -> None:
    assert fault(content, "json").startswith(told)


def test_json_lines_that_are_none() -> None:
    assert fault('{"to": "a@x.com"}\n{"to" "b"}', "jsonl") == "line 2: is no JSON from column 7 on"
    assert fault(" \n", "jsonl") == "line 2: is the end, without any recipient"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="must be one of csv, json, jsonl"):
        Reader("xlsx")


def _pieces(format: str, count: int) -> Iterator[bytes]:
    line = b'{"to": "user@example.com", "data": {"name": "Ada", "n": 1}}'
    between = b"\n" if format == "jsonl" else b","
    if format == "csv":
        line, between = b"user@example.com,Ada,London", b"\n"
        yield HEADER.encode()
    yield b"[" if format == "json" else b""
    whole = (line + between) * 1000
    yield from [whole] * (count // 1000 - 1)
    yield whole.removesuffix(between) + (b"]" if format == "json" else b"")


@pytest.mark.parametrize("format", recipients.FORMATS)
def test_memory_does_not_grow_with_the_list(format: str) -> None:
    def peak(pieces: Iterable[bytes]) -> int:
        tracemalloc.start()
        assert {len(chunk) for chunk in recipients.chunks(pieces, format, 500)} == {500}
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = peak(_pieces(format, 4_000))
    assert peak(_pieces(format, 24_000)) < few * 1.2
