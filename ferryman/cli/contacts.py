"""`contacts`: make or change every contact in a file."""

from __future__ import annotations

import click

from ferryman.cli import _bulk
from ferryman.cli.jobs import as_json


@click.command()
@click.argument("contacts", metavar="CONTACTS")
@click.option("--vendor", help="hubspot or salesforce. Default: as configured.")
@_bulk.options
@as_json
def contacts(
    contacts: str,
    vendor: str | None,
    format: str | None,
    key: str | None,
    run_at: str | None,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Make or change every contact in CONTACTS in the CRM: a file that ends in .csv, .json or
    .jsonl, or `-`.

    A CSV has a header: column `to` is the e-mail address, `external_id` your own number of the
    contact if you have one, and every other column a field: first_name, last_name, phone, company,
    title, website, city, country …, or one of the vendor's own that vendors.toml names. An empty
    cell leaves what is there. JSON is a list, or a line each, of {"to": …, "data": {"first_name":
    …}}; there, null clears a field.

    A contact with a bad address or an unknown field is set aside with the reason, and so are
    different records of one and the same contact; the others go. Each is a job of its own, and
    they travel together. Ctrl-C ends the look, not the import.

    \b
    Examples:
      ferryman contacts people.csv --key import-2030-01
      ferryman contacts people.jsonl --vendor salesforce --no-wait
      ferryman batch 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11 --recipients -o aside.csv

    Exit status: 0 all are there (with --no-wait: accepted), 1 some failed, none went, or the
    import is paused, 2 bad input, 3 it is unknown of some.
    """
    from ferryman._door import command_line_door

    door = command_line_door()
    with _bulk.opened(contacts, format) as source:
        job = _bulk.ordered(
            door, source, "bulk_contacts", {}, None, key=key, run_at=run_at, vendor=vendor
        )
    return _bulk.finished(door, job, "contacts", no_wait=no_wait, as_json=as_json)
