"""Recipients out of CSV (RFC 4180): a column `to`, and one for each name in the data.

A million rows pass here within a second or so: each step works on all rows of a piece at once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

from ferryman._rows import LONGEST, LONGEST_ADDRESS, TOO_LONG, BadList, Row, cut, ill_addressed

ADDRESS = "to"
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
OPEN = "opens a quotation mark that is never closed"

Record = list[str]
Records = tuple[Sequence[int], list[Record]]


class Csv:
    def __init__(self) -> None:
        self.number = 1
        self._rest = ""
        self._names: list[str] = []
        self._address = 0
        self._fault: BadList | None = None

    def read(self, text: str, *, last: bool = False) -> list[Row]:
        lines, rest = cut(self._rest + text, last=last)
        numbers, records = self._records(lines, last)
        self._rest += rest
        if len(self._rest) > LONGEST:
            self._fault = self._fault or BadList(self.number, TOO_LONG)
        if not self._names:
            numbers, records = self._headed(numbers, records)
        rows = self._rows(numbers, records)
        if self._fault:
            raise self._fault
        return rows

    def _records(self, lines: list[str], last: bool) -> Records:
        """The complete records, each with the number of its first line. What is left of the lines
        is kept."""
        reader, records = csv.reader(lines, strict=True), list[Record]()
        first = self.number
        try:
            records.extend(reader)
        except csv.Error:
            return self._one_by_one(lines, last)
        if len(records) != len(lines):
            return self._one_by_one(lines, last)
        self.number += len(lines)
        self._rest = ""
        return range(first, self.number), records

    def _one_by_one(self, lines: list[str], last: bool) -> Records:
        """The same where a record has several lines, or is at fault, or goes on after these."""
        ended = list[bool]()
        reader = csv.reader(chain(lines, _noting(ended)), strict=True)
        numbers, records, start = list[int](), list[Record](), 0
        try:
            for record in reader:
                numbers.append(self.number + start)
                records.append(record)
                start = reader.line_num
        except csv.Error as error:
            if not ended:
                self._fault = BadList(self.number + start, _words(error))
            elif last:
                self._fault = BadList(self.number + start, OPEN)
        self.number += start
        self._rest = "".join(lines[start:])
        return numbers, records

    def _headed(self, numbers: Sequence[int], records: list[Record]) -> Records:
        """Take the names of the columns; the records after them. Raises BadList."""
        for place, record in enumerate(records):
            if not _blank(record):
                self._take_names(numbers[place], record)
                return numbers[place + 1 :], records[place + 1 :]
        return (), []

    def _take_names(self, number: int, header: Record) -> None:
        names = [name.strip() for name in header]
        if ADDRESS not in names:
            raise BadList(number, _no_address(header))
        if "" in names:
            raise BadList(number, f"has no name for column {names.index('') + 1}")
        if len(set(names)) < len(names):
            raise BadList(number, "names a column twice")
        self._address = names.index(ADDRESS)
        names.remove(ADDRESS)
        self._names = [ADDRESS, *names]

    def _rows(self, numbers: Sequence[int], records: list[Record]) -> list[Row]:
        addresses = self._addresses(records)
        if addresses is None:
            numbers, records = self._fitting(numbers, records)
            addresses = [record[self._address] for record in records]
        if len(self._names) == 1:
            return list(zip(numbers, addresses, repeat(None), strict=False))
        for record in records:
            del record[self._address]
        data = map(dict, map(zip, repeat(self._names[1:]), records))
        return list(zip(numbers, addresses, data, strict=True))

    def _addresses(self, records: list[Record]) -> list[str] | None:
        """None where one of the records has to be left out or is at fault."""
        if set(map(len, records)) - {len(self._names)}:
            return None
        addresses = [record[self._address] for record in records]
        longest = max(map(len, addresses), default=0)
        fit = all(map(str.strip, addresses)) and longest <= LONGEST_ADDRESS
        return addresses if fit else None

    def _fitting(self, numbers: Sequence[int], records: list[Record]) -> Records:
        """All but the blank ones. Raises BadList at the first that is at fault."""
        width, kept = len(self._names), list[tuple[int, Record]]()
        for number, record in zip(numbers, records, strict=True):
            if _blank(record):
                continue
            if len(record) != width:
                raise BadList(number, f"has {len(record)} fields, and the header has {width}")
            if wrong := ill_addressed(record[self._address]):
                raise BadList(number, wrong)
            kept.append((number, record))
        return [number for number, _ in kept], [record for _, record in kept]


def _noting(ended: list[bool]) -> Iterator[str]:
    ended.append(True)
    yield from ()


def _blank(record: Record) -> bool:
    return not record or (len(record) == 1 and not record[0].strip())


def _no_address(header: Record) -> str:
    for delimiter, name in OTHER_DELIMITERS.items():
        if delimiter in header[0]:
            return f"divides its columns by {name}: let commas do that"
    return f"must name the columns, one of which is `{ADDRESS}`"


def _words(error: csv.Error) -> str:
    """The csv module knows three faults; its words for them help nobody."""
    if "field larger" in str(error):
        return "has a field of more than 131072 characters: is a quotation mark left open?"
    return "goes on in a field whose quotation mark is closed: double a mark that is text"
