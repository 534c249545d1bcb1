"""`python -m models.migrate`: bring the schema `ferryman` to this version; safe to run twice."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from ferryman.errors import MissingSetting
from ferryman.policies import routes
from ferryman.settings import settings
from models.engine import dumps, sync_engine

# Any number: it only has to be the same in every process that migrates.
LOCK = 727_100


def config() -> Config:
    """Alembic's configuration, without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return made


def migrate(url: str) -> None:
    """Upgrade to the newest revision and renew the routes, one process at a time."""
    engine = sync_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            alembic = config()
            alembic.attributes["connection"] = connection
            command.upgrade(alembic, "head")
            connection.execute(text("DELETE FROM ferryman.routes"))
            connection.execute(
                text(
                    "INSERT INTO ferryman.routes SELECT * FROM"
                    " jsonb_populate_recordset(NULL::ferryman.routes, CAST(:rows AS jsonb))"
                ),
                {"rows": dumps(routes())},
            )
    finally:
        engine.dispose()


def main() -> None:
    try:
        url = settings().database_direct_url or settings().resolve_database_url()
    except MissingSetting as error:
        sys.exit(_refuse(error))
    migrate(url)
    print("the ledger's schema is up to date")


def _refuse(error: MissingSetting) -> int:
    print(f"ferryman: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
