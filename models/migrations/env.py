"""Alembic's entry: always on the connection that `models.migrate` opened."""

from alembic import context

from models.tables import SCHEMA, Base

connection = context.config.attributes["connection"]
connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_schemas=True,
    include_name=lambda name, kind, _: kind != "schema" or name == SCHEMA,
    version_table_schema=SCHEMA,
)
context.run_migrations()
