"""Commands as the documentation and the help texts show them: there are such options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ferryman.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
# Up to its end, a comment, or what is the shell's; a text in quotes may have several lines.
COMMAND = re.compile(r"^ *(ferryman (?:'[^']*'|[^'\n#<>|])*)", re.M)


def _commands(text: str) -> list[str]:
    found: list[str] = COMMAND.findall(text.replace("\\\n", " "))
    return found


def _in_documents() -> list[str]:
    blocks = (FENCE.findall(path.read_text()) for path in DOCUMENTS)
    return sorted({line for found in blocks for block in found for line in _commands(block)})


def _all_of(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from _all_of(command)


def _in_help() -> list[str]:
    return sorted(line for one in _all_of(main) for line in _commands(one.help or ""))


def _parse(words: list[str]) -> None:
    """Raises what a person would be told who typed that. Nothing is done."""
    command: Any = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("ferryman", words)


@pytest.mark.parametrize("shown", [*_in_documents(), *_in_help()])
def test_it_is_understood(shown: str) -> None:
    _parse(shlex.split(shown)[1:])


def test_there_are_some() -> None:
    assert any("--recipients -o aside.csv" in shown for shown in _in_documents())
    assert any("suppressions add" in shown for shown in _in_help())
