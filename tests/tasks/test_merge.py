"""One letter for many: the strings that stand in it, and what replaces them for each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from adapters._mail import Letter, Recipient
from tasks._base import Refusal
from tasks._merge import Merge, Unfit
from tasks._template import fill

ID = UUID(int=1)


def merged(letter: Letter, data: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Subject, text and HTML as the vendor makes them for one recipient."""
    merge = Merge(letter, most_fill_bytes=10_000)
    recipient = merge.recipient(ID, "ada@example.com", data)

    def replaced(source: str | None) -> str | None:
        for tag, value in recipient.fills.items():
            source = source and source.replace(tag, value)
        return source

    subject = recipient.subject or merge.letter.subject
    return subject, replaced(merge.letter.text), replaced(merge.letter.html)


@pytest.mark.parametrize(
    "data",
    [
        {"name": "Ada", "name2": "Byron", "n": 3},
        {"name": "Ada & <Co> 'x' \"y\"", "name2": "{{ n }}", "n": 2.5},
        {"name": "Åsa\n", "name2": "", "n": True},
    ],
)
def test_many_get_what_one_would_get(data: dict[str, Any]) -> None:
    letter = Letter(
        subject="{{n}} for you",
        text="Dear {{ name }} {{name2}},\nyou have {{ n }}.",
        html="<p title='{{ name }}'>{{name2}} {{ n }}</p>",
    )
    alone = fill(letter, data)
    assert merged(letter, data) == (alone.subject, alone.text, alone.html)


def test_a_letter_without_placeholders_is_the_same_for_all() -> None:
    letter = Letter(subject="News", text="100 % } { off", html="<style>a{b:c}</style>")
    merge = Merge(letter, most_fill_bytes=0)
    assert merge.letter == letter
    assert merge.recipient(ID, "a@example.com", {"x": 1}) == Recipient(ID, "a@example.com")


def test_a_template_of_the_vendor_is_given_the_data_as_it_is() -> None:
    merge = Merge(Letter(template="d-1"), most_fill_bytes=0)
    data = {"items": [1, {"a": None}]}
    assert merge.recipient(ID, "a@example.com", data).data == data


@pytest.mark.parametrize(
    "source",
    [
        "{{ name|upper }}",
        "{{ user.name }}",
        "{{ name",
        "{{- name -}}",
        "{% if name %}x{% endif %}",
        "{# note #}",
        "{{ 1 + 1 }}",
        "{{ }}",
    ],
)
@pytest.mark.parametrize("part", ["subject", "text", "html"])
def test_more_than_a_name_is_refused_before_anything_happens(source: str, part: str) -> None:
    with pytest.raises(Refusal, match=f"^{part}: only placeholders") as raised:
        Merge(Letter(**{part: f"x {source}"}), most_fill_bytes=10_000)
    assert raised.value.code == "invalid_arguments"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "data: has no `name`"),
        ({"name": None}, "data: has no `name`"),
        ({"name": ["canary"]}, "data: `name` must be text or a number"),
        ({"name": {"a": "canary"}}, "data: `name` must be text or a number"),
        ({"name": "canary" * 2000}, "data: is longer than the 10000 bytes that the vendor takes"),
        ({"name": "canary\r\nBcc: all@example.com"}, "subject: must be one line"),
    ],
)
def test_a_recipient_whose_mail_cannot_be_made_is_told_why(data: dict[str, Any], why: str) -> None:
    merge = Merge(Letter(subject="For {{ name }}", text="{{ name }}"), most_fill_bytes=10_000)
    with pytest.raises(Unfit, match=f"^{why}") as raised:
        merge.recipient(ID, "ada@example.com", data)
    assert "canary" not in str(raised.value)
