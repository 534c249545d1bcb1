"""One mail filled in by Jinja: what stands in it, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from adapters._mail import Letter
from tasks._base import Refusal
from tasks._template import fill


def test_each_part_is_filled_and_html_alone_is_escaped() -> None:
    letter = Letter(
        subject="For {{ name }}", text="Dear {{ name }}\n", html="<p>{{ name }}</p>", sender="a@b.c"
    )
    filled = fill(letter, {"name": "Ada & <Co>"})
    assert filled == Letter(
        subject="For Ada & <Co>",
        text="Dear Ada & <Co>\n",
        html="<p>Ada &amp; &lt;Co&gt;</p>",
        sender="a@b.c",
    )


def test_loops_conditions_and_filters_are_there() -> None:
    source = "{% for item in items %}{% if item.n %}{{ item.name|upper }} {% endif %}{% endfor %}"
    items = [{"name": "tea", "n": 1}, {"name": "ink", "n": 0}, {"name": "oil", "n": 2}]
    assert fill(Letter(text=source), {"items": items}).text == "TEA OIL "


@pytest.mark.parametrize("name", ["name", "range", "dict", "lipsum"])
def test_a_missing_value_is_named(name: str) -> None:
    with pytest.raises(Refusal, match=f"^text: data has no `{name}`$") as raised:
        fill(Letter(text=f"Dear {{{{ {name} }}}}"), {"other": 1})
    assert raised.value.code == "invalid_arguments"


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("{{ user.name }}", {"user": {}}),
        ("{{ table[secret] }}", {"table": {}, "secret": "canary"}),
        ("{{ secret + 1 }}", {"secret": "canary"}),
        ("{{ secret.__class__.__mro__ }}", {"secret": "canary"}),
        ("{{ ().__class__.__base__.__subclasses__() }}", {}),
        ("{{ items.append(secret) }}", {"items": [], "secret": "canary"}),
    ],
)
def test_what_fails_or_leaves_the_sandbox_is_refused_without_the_data(
    source: str, data: dict[str, Any]
) -> None:
    with pytest.raises(Refusal, match=r"^html: cannot be filled in with this data$"):
        fill(Letter(html=source), data)


def test_a_template_that_is_none_is_refused_with_its_line() -> None:
    with pytest.raises(Refusal, match=r"^text: line 2 ") as raised:
        fill(Letter(text="fine\n{% canary %}"), {})
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("value", ["x\r\nBcc: all@example.com", "x\n", "x\u2028y", "x\x85"])
def test_no_header_comes_in_by_the_subject(value: str) -> None:
    with pytest.raises(Refusal, match=r"^subject: must be one line"):
        fill(Letter(subject="Hello {{ name }}", text="Good day"), {"name": value})


@pytest.mark.parametrize("part", ["subject", "text", "html"])
def test_a_part_that_comes_out_empty_is_refused(part: str) -> None:
    with pytest.raises(Refusal, match=f"^{part}: is empty"):
        fill(Letter(**{part: "{{ name }}"}), {"name": " "})
