"""A sync is a batch: its objects are planned in segments and moved by jobs of their own, and every
upload in parts is on record before it is begun."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("now()")
ZERO = sa.text("0")
BULK_KINDS = ("bulk_email", "bulk_sms")


def upgrade() -> None:
    _objects()
    _parts()
    _batches()
    _multiparts()
    for functions in sorted(Path(__file__).parent.glob("0005_*.sql")):
        op.get_bind().exec_driver_sql(functions.read_text())
    _bulk_kinds()
    _under_way()


def _objects() -> None:
    """Keys in the order of the listings, whatever the database's own is."""
    op.alter_column(
        "objects", "key", type_=sa.Text(collation="C"), existing_nullable=False, schema="ferryman"
    )
    columns: tuple[sa.Column[object], ...] = (
        sa.Column("part", sa.BigInteger(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("source_version", sa.Text(), nullable=True),
        sa.Column("source_etag", sa.Text(), nullable=True),
        sa.Column("target_etag", sa.Text(), nullable=True),
        sa.Column("target_version", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("digests", postgresql.JSONB(), nullable=True),
        sa.Column("target_digests", postgresql.JSONB(), nullable=True),
        sa.Column("fold", sa.BigInteger(), nullable=True),
    )
    for column in columns:
        op.add_column("objects", column, schema="ferryman")
    _one_of("objects", "action", ("copy", "keep", "delete", "refuse", "compare"))
    _one_of("objects", "outcome", ("planned", "done", "failed", "refused", "cancelled"))
    # What became of an object is written into its row's own page, without an entry in any index.
    op.execute("ALTER TABLE ferryman.objects SET (fillfactor = 85)")


def _parts() -> None:
    columns: tuple[sa.Column[object], ...] = (
        sa.Column("action", sa.Text(), nullable=True),
        sa.Column("first_key", sa.Text(collation="C"), nullable=True),
        sa.Column("last_key", sa.Text(collation="C"), nullable=True),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        *_counts("done", "kept", "failed", "bytes", "bytes_done"),
    )
    for column in columns:
        op.add_column("parts", column, schema="ferryman")
    op.create_check_constraint(
        op.f("parts_action_check"), "parts", "action IN ('copy', 'delete')", schema="ferryman"
    )
    op.create_check_constraint(
        op.f("parts_counts_check"), "parts", "done + kept + failed <= size", schema="ferryman"
    )


def _batches() -> None:
    columns: tuple[sa.Column[object], ...] = (
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("awaits", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("bandwidth", sa.BigInteger(), nullable=True),
        *_counts("targets", "surplus", "kept", "bytes"),
    )
    for column in columns:
        op.add_column("batches", column, schema="ferryman")
    op.create_index(
        "batches_awaits_idx",
        "batches",
        ["id"],
        schema="ferryman",
        postgresql_where=sa.text("awaits"),
    )


def _multiparts() -> None:
    op.create_table(
        "multiparts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("begun_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "status IN ('open', 'done', 'aborted')", name=op.f("multiparts_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("multiparts_pkey")),
        schema="ferryman",
    )
    op.create_index(op.f("multiparts_job_id_idx"), "multiparts", ["job_id"], schema="ferryman")
    op.create_index(
        "multiparts_open_idx",
        "multiparts",
        ["vendor", "bucket"],
        schema="ferryman",
        postgresql_where=sa.text("status = 'open'"),
    )


def _counts(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(n, sa.BigInteger(), server_default=ZERO, nullable=False) for n in names]


def _one_of(table: str, column: str, values: tuple[str, ...]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table, schema="ferryman")
    allowed = ", ".join(repr(value) for value in values)
    op.create_check_constraint(name, table, f"{column} IN ({allowed})", schema="ferryman")


def _bulk_kinds() -> None:
    """`sync_objects` has a batch as well: in the two functions that store jobs, one word more."""
    for name in ("enqueue", "enqueue_each"):
        source: str = op.get_bind().scalar(
            sa.text(
                "SELECT pg_get_functiondef(p.oid) FROM pg_proc p"
                " JOIN pg_namespace n ON n.oid = p.pronamespace"
                " WHERE n.nspname = 'ferryman' AND p.proname = :name"
            ),
            {"name": name},
        )
        before = ", ".join(repr(kind) for kind in BULK_KINDS)
        changed = source.replace(f"IN ({before})", f"IN ({before}, 'sync_objects')")
        assert changed != source
        op.get_bind().exec_driver_sql(changed)


def _under_way() -> None:
    """Syncs that had not ended get the batch that each has from now on, and plan once more: what
    they copied is found in its place."""
    open_ones = "kind = 'sync_objects' AND status IN ('waiting', 'running', 'unknown')"
    op.execute(f"UPDATE ferryman.jobs SET batch_id = id WHERE {open_ones}")
    op.execute(f"""
        INSERT INTO ferryman.batches (id, job_id)
        SELECT id, id FROM ferryman.jobs WHERE {open_ones} ON CONFLICT DO NOTHING
    """)
    op.execute(f"""
        DELETE FROM ferryman.objects o USING ferryman.jobs j
         WHERE o.job_id = j.id AND j.{open_ones.replace(" AND ", " AND j.")}
    """)


def downgrade() -> None:
    """A ledger goes forward only."""
    raise RuntimeError("there is no way back from this schema: restore a backup instead")
