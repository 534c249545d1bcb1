"""The kinds of jobs, told to people: their arguments, and which names there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ferryman.errors import InvalidArguments

if TYPE_CHECKING:
    from ferryman.requests import Request


class KindsInHelp(click.Command):
    """A command whose help ends with all kinds and their arguments."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Loaded for this help alone: the requests take longer to load than all the rest.
        from ferryman.requests import kinds

        asked = sorted((name, made) for name, made in kinds().items() if not made.internal)
        with formatter.section("Kinds and their arguments, [those in brackets] may be left out"):
            formatter.write_dl([(name, _arguments(made)) for name, made in asked])


def known(option: str, given: str) -> str:
    """A kind that exists, be it one that only ferryman makes. Raises InvalidArguments."""
    from ferryman.requests import kinds

    if given not in kinds():
        raise InvalidArguments(option, f"must be one of {', '.join(sorted(kinds()))}")
    return given


def _arguments(made: type[Request]) -> str:
    """Required ones first."""
    fields = made.model_fields.items()
    required = [name for name, field in fields if field.is_required()]
    optional = [f"[{name}]" for name, field in fields if not field.is_required()]
    return " ".join(required + optional)
