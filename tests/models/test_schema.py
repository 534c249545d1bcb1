"""The migrated schema is the one that the models describe, and migrating twice changes nothing."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from models.engine import driver_url
from models.migrate import migrate
from models.tables import SCHEMA, Base


def test_migrations_make_what_the_models_say(ledger_url: str) -> None:
    migrate(ledger_url)
    # A user called like the schema would have it as default, and Alembic knows that as None.
    options = {"options": "-c search_path=public"}
    engine = create_engine(driver_url(ledger_url), connect_args=options)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
                "version_table_schema": SCHEMA,
            },
        )
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()

    assert differences == []
