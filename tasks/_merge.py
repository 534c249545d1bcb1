"""One letter for many: its `{{ name }}` placeholders, and what stands there for each recipient.

All share one text, which the vendor fills in. So a placeholder is a plain name here: conditions,
loops and filters, which Jinja offers to a single mail, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from markupsafe import escape

from adapters._mail import Letter, Recipient
from tasks._template import is_one_line, refusal

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
OTHER_MARKS = re.compile(r"\{\{|\{%|\{#")
PRINTABLE = (str, int, float)


class Unfit(Exception):
    """This recipient's mail cannot be made; the message says why, without the data."""


class Merge:
    """A letter ready to be filled in by the vendor. Raises Refusal for what is no plain name."""

    def __init__(self, letter: Letter, *, most_fill_bytes: int) -> None:
        self._most = most_fill_bytes
        self._templated = letter.template is not None
        in_subject = _names("subject", letter.subject)
        self._subject = letter.subject if in_subject else None
        self._in_text = _names("text", letter.text)
        self._in_html = _names("html", letter.html)
        self._names = sorted({*in_subject, *self._in_text, *self._in_html})
        self.letter = replace(
            letter,
            subject=None if self._subject else letter.subject,
            text=_tagged(letter.text, "text"),
            html=_tagged(letter.html, "html"),
        )

    def check(self, datas: Iterable[Mapping[str, Any]]) -> None:
        """That each name is known for somebody: one that nobody has is a slip in the letter.
        Raises Refusal."""
        missing = set() if self._templated else set(self._names)
        for data in datas:
            missing.difference_update(data)
            if not missing:
                return
        if missing:
            name = min(missing)
            raise refusal(self._part_of(name), f"no recipient's data has `{name}`")

    def _part_of(self, name: str) -> str:
        if name in self._in_html:
            return "html"
        return "text" if name in self._in_text else "subject"

    def recipient(self, email_id: UUID, address: str, data: Mapping[str, Any]) -> Recipient:
        """One recipient with what is different for him. Raises Unfit."""
        if self._templated:
            return Recipient(email_id, address, data=data)
        words = {name: _printed(name, data) for name in self._names}
        # Text and HTML need a string of their own for one name: only one of them is escaped.
        fills = {_tag("text", name): words[name] for name in self._in_text} | {
            _tag("html", name): str(escape(words[name])) for name in self._in_html
        }
        if sum(len(tag) + len(value.encode()) for tag, value in fills.items()) > self._most:
            raise Unfit(f"data: is longer than the {self._most} bytes that the vendor takes")
        return Recipient(email_id, address, subject=self._subject_for(words), fills=fills)

    def _subject_for(self, words: Mapping[str, str]) -> str | None:
        if self._subject is None:
            return None
        subject = PLACEHOLDER.sub(lambda found: words[found[1]], self._subject)
        if not is_one_line(subject):
            raise Unfit("subject: must be one line once it is filled in")
        return subject


def _names(part: str, source: str | None) -> list[str]:
    """The placeholders of a text. Raises Refusal for any other mark of a template."""
    if source is None:
        return []
    if OTHER_MARKS.search(PLACEHOLDER.sub("", source)):
        raise refusal(part, "only placeholders such as {{ name }} can be filled in for many")
    return sorted(set(PLACEHOLDER.findall(source)))


def _tagged(source: str | None, part: str) -> str | None:
    if source is None:
        return None
    return PLACEHOLDER.sub(lambda found: _tag(part, found[1]), source)


def _tag(part: str, name: str) -> str:
    # Nothing that would stand in a letter by chance: the vendor replaces it wherever it is found.
    return f"%ferryman.{part}.{name}%"


def _printed(name: str, data: Mapping[str, Any]) -> str:
    value = data.get(name)
    if value is None:
        raise Unfit(f"data: has no `{name}`")
    if not isinstance(value, PRINTABLE):
        raise Unfit(f"data: `{name}` must be text or a number")
    return str(value)
