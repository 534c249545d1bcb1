"""Jobs that travel together: loads, and the contacts of a CRM."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("now()")
# The same words as in models/loads.py: an index serves only a statement that says them too.
RIDE = "kind = ANY ('{track_event,identify_user,upsert_contact}'::text[])"
BULK_KINDS = ("bulk_email", "bulk_sms", "sync_objects")


def upgrade() -> None:
    _riders()
    _loads()
    _contacts()
    _daily()
    for functions in sorted(Path(__file__).parent.glob("0006_*.sql")):
        op.get_bind().exec_driver_sql(functions.read_text())
    _bulk_kinds()


def _riders() -> None:
    """Jobs that ride are found by their kind, and are in none of the indexes of the others."""
    for table in ("jobs", "attempts"):
        op.add_column(table, sa.Column("load", sa.Uuid(), nullable=True), schema="ferryman")
    op.drop_index("jobs_due_idx", table_name="jobs", schema="ferryman")
    op.create_index(
        "jobs_due_idx",
        "jobs",
        ["vendor", "priority", "run_at"],
        schema="ferryman",
        postgresql_where=sa.text(f"status = 'waiting' AND published_at IS NULL AND NOT ({RIDE})"),
    )
    op.create_index(
        "jobs_riders_idx",
        "jobs",
        ["vendor", "kind", "priority", "run_at"],
        schema="ferryman",
        postgresql_where=sa.text(f"status = 'waiting' AND {RIDE}"),
    )
    op.drop_index("jobs_held_idx", table_name="jobs", schema="ferryman")
    op.create_index(
        "jobs_held_idx",
        "jobs",
        ["worker_id"],
        schema="ferryman",
        postgresql_where=sa.text("status = 'running' AND worker_id IS NOT NULL"),
    )


def _loads() -> None:
    op.create_table(
        "loads",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("riders", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("taken_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("loads_pkey")),
        schema="ferryman",
    )
    op.create_index(
        "loads_open_idx",
        "loads",
        ["job_id"],
        schema="ferryman",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    # Ids do not compress: to try would only take time.
    op.execute("ALTER TABLE ferryman.loads ALTER COLUMN riders SET STORAGE EXTERNAL")


def _contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("vendor_reference", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'new'"), nullable=False),
        sa.Column("fields", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("updated_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "status IN ('new', 'active', 'deleted')", name=op.f("contacts_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("contacts_pkey")),
        sa.UniqueConstraint("vendor", "identity", name=op.f("contacts_vendor_identity_key")),
        schema="ferryman",
    )
    op.create_index(
        "contacts_reference_idx",
        "contacts",
        ["vendor", "vendor_reference"],
        schema="ferryman",
        postgresql_where=sa.text("vendor_reference IS NOT NULL"),
    )
    op.create_table(
        "set_aside",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("given", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('invalid', 'duplicate')", name=op.f("set_aside_status_check")
        ),
        sa.PrimaryKeyConstraint("batch_id", "place", name=op.f("set_aside_pkey")),
        schema="ferryman",
    )


def _daily() -> None:
    """A day's limit, apart from that of a second or a minute."""
    for name, kind in (
        ("daily_limit", sa.BigInteger()),
        ("daily_remaining", sa.BigInteger()),
        ("daily_reset_at", MOMENT),
    ):
        op.add_column("vendor_states", sa.Column(name, kind, nullable=True), schema="ferryman")


def _bulk_kinds() -> None:
    """`bulk_contacts` has a batch as well: in the two functions that store jobs, one word more."""
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
        changed = source.replace(f"IN ({before})", f"IN ({before}, 'bulk_contacts')")
        assert changed != source
        op.get_bind().exec_driver_sql(changed)


def downgrade() -> None:
    """A ledger goes forward only."""
    raise RuntimeError("there is no way back from this schema: restore a backup instead")
