"""Mail to a million: a row a recipient that seldom changes, a row a request that does. Text
messages, uploads, suppressions."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("now()")
ZERO = sa.text("0")
MAIL_STATUSES = (
    "'waiting', 'sending', 'sent', 'failed', 'unknown', 'suppressed', 'invalid', 'duplicate',"
    " 'cancelled'"
)
DELIVERIES = "'processed', 'deferred', 'delivered', 'bounced', 'dropped'"
TOLD = (
    *("processed", "deferred", "delivered", "bounced", "dropped"),
    *("opened", "clicked", "complained", "unsubscribed"),
)
# Now the sum over a batch's parts, so that no row of the batch is written for each request.
DERIVED = ("waiting", "sending", "sent", "unknown", "cancelled")


def upgrade() -> None:
    _tables()
    _mails()
    _batches()
    _events()
    for functions in sorted(Path(__file__).parent.glob("0004_*.sql")):
        op.get_bind().exec_driver_sql(functions.read_text())
    _bulk_kinds()


def _tables() -> None:
    op.create_table(
        "parts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("vendor_reference", sa.Text(), nullable=True),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint(f"status IN ({MAIL_STATUSES})", name=op.f("parts_status_check")),
        sa.CheckConstraint("size >= 0", name=op.f("parts_size_check")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("parts_pkey")),
        schema="ferryman",
    )
    op.create_index(op.f("parts_batch_id_idx"), "parts", ["batch_id"], schema="ferryman")
    op.create_table(
        "batch_minutes",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("minute", MOMENT, nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("bounced", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("complained", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "minute", name=op.f("batch_minutes_pkey")),
        schema="ferryman",
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint("format IN ('csv', 'json', 'jsonl')", name=op.f("uploads_format_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("uploads_pkey")),
        schema="ferryman",
    )
    op.create_table(
        "upload_pieces",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("content", postgresql.BYTEA(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "place", name=op.f("upload_pieces_pkey")),
        schema="ferryman",
    )
    op.create_table(
        "suppressions",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint("channel IN ('email', 'sms')", name=op.f("suppressions_channel_check")),
        sa.CheckConstraint(
            "reason IN ('bounce', 'invalid', 'complaint', 'unsubscribe', 'manual')",
            name=op.f("suppressions_reason_check"),
        ),
        sa.PrimaryKeyConstraint("channel", "address", name=op.f("suppressions_pkey")),
        schema="ferryman",
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("segments", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("vendor_reference", sa.Text(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column("delivery_at", MOMENT, nullable=True),
        sa.Column("delivery_reason", sa.Text(), nullable=True),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint(f"status IN ({MAIL_STATUSES})", name=op.f("messages_status_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("messages_pkey")),
        schema="ferryman",
    )
    op.create_index("messages_job_idx", "messages", ["job_id"], schema="ferryman")
    op.create_index("messages_batch_idx", "messages", ["batch_id", "status"], schema="ferryman")
    op.create_index("messages_recipient_idx", "messages", ["recipient"], schema="ferryman")
    op.create_index(
        "messages_reference_idx",
        "messages",
        ["vendor", "vendor_reference"],
        schema="ferryman",
        postgresql_where=sa.text("vendor_reference IS NOT NULL"),
    )


def _mails() -> None:
    """The table of mails becomes `mails`; `emails` is the view that tells each one's status."""
    op.rename_table("emails", "mails", schema="ferryman")
    op.execute("ALTER INDEX ferryman.emails_pkey RENAME TO mails_pkey")
    op.execute("ALTER INDEX ferryman.emails_job_idx RENAME TO mails_job_idx")
    op.execute(
        "ALTER TABLE ferryman.mails RENAME CONSTRAINT emails_status_check TO mails_status_check"
    )
    op.drop_index("emails_batch_idx", table_name="mails", schema="ferryman")
    op.alter_column("mails", "status", nullable=True, schema="ferryman")
    op.execute("UPDATE ferryman.mails SET job_id = id WHERE job_id IS NULL")
    op.alter_column("mails", "job_id", nullable=False, schema="ferryman")
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("place", sa.BigInteger(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column("delivery_at", MOMENT, nullable=True),
        sa.Column("delivery_reason", sa.Text(), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=True),
        sa.Column("clicked_at", MOMENT, nullable=True),
        sa.Column("complained_at", MOMENT, nullable=True),
        sa.Column("unsubscribed_at", MOMENT, nullable=True),
    )
    for column in columns:
        op.add_column("mails", column, schema="ferryman")
    op.create_check_constraint(
        op.f("mails_delivery_check"), "mails", f"delivery IN ({DELIVERIES})", schema="ferryman"
    )
    # What a recipient did is written into his row's own page, without an entry in any index.
    op.execute("ALTER TABLE ferryman.mails SET (fillfactor = 85)")
    op.execute("""
        INSERT INTO ferryman.parts
               (job_id, batch_id, part, status, size, reason, vendor_reference, sent_at, ended_at)
        SELECT j.id, j.batch_id, (j.args ->> 'part')::bigint, max(m.status), count(*),
               max(m.reason), max(m.vendor_reference), max(m.sent_at), j.finished_at
          FROM ferryman.jobs j JOIN ferryman.mails m ON m.job_id = j.id
         WHERE j.kind = 'bulk_email_part' GROUP BY j.id
    """)
    op.execute("""
        UPDATE ferryman.mails m SET status = NULL, reason = NULL
          FROM ferryman.parts p WHERE p.job_id = m.job_id
    """)


def _batches() -> None:
    op.drop_constraint(op.f("batches_counts_check"), "batches", schema="ferryman")
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("planned_at", MOMENT, nullable=True),
        sa.Column("per_minute", sa.BigInteger(), nullable=True),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("max_bounce_rate", sa.Double(), nullable=True),
        sa.Column("max_complaint_rate", sa.Double(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), server_default=ZERO, nullable=False) for name in TOLD),
    )
    for column in columns:
        op.add_column("batches", column, schema="ferryman")
    op.execute("""
        UPDATE ferryman.batches b SET planned_at = coalesce(j.finished_at, now()), failed = 0,
               status = CASE b.status WHEN 'done' THEN 'running' ELSE b.status END
          FROM ferryman.jobs j WHERE j.id = b.id AND b.total > 0
    """)
    for name in (*DERIVED, "finished_at"):
        op.drop_column("batches", name, schema="ferryman")
    op.drop_constraint(op.f("batches_status_check"), "batches", schema="ferryman")
    op.create_check_constraint(
        op.f("batches_status_check"),
        "batches",
        "status IN ('running', 'paused', 'cancelled')",
        schema="ferryman",
    )


def _events() -> None:
    """By vendor, so that a million mails' events keep no payment's waiting."""
    op.drop_index("events_due_idx", table_name="events", schema="ferryman")
    op.create_index(
        "events_due_idx",
        "events",
        ["vendor", "due_at"],
        schema="ferryman",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def _bulk_kinds() -> None:
    """`bulk_sms` has a batch as well: in the two functions that store jobs, one word more."""
    for name in ("enqueue", "enqueue_each"):
        source: str = op.get_bind().scalar(
            sa.text(
                "SELECT pg_get_functiondef(p.oid) FROM pg_proc p"
                " JOIN pg_namespace n ON n.oid = p.pronamespace"
                " WHERE n.nspname = 'ferryman' AND p.proname = :name"
            ),
            {"name": name},
        )
        changed = source.replace("= 'bulk_email'", "IN ('bulk_email', 'bulk_sms')")
        assert changed != source
        op.get_bind().exec_driver_sql(changed)


def downgrade() -> None:
    """A ledger goes forward only."""
    raise RuntimeError("there is no way back from this schema: restore a backup instead")
