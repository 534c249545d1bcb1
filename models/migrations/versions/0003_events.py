"""Events of the vendors; payments that wait, are held, or are disputed."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("now()")
ZERO = sa.text("0")
FALSE = sa.text("false")
CHARGE_STATUSES = (
    "'requires_action', 'processing', 'authorized', 'succeeded', 'partially_refunded', 'refunded',"
    " 'disputed', 'cancelled', 'failed'"
)
CHARGES: tuple[sa.Column[Any], ...] = (
    sa.Column("vendor_session", sa.Text(), nullable=True),
    sa.Column("disputed", sa.Boolean(), server_default=FALSE, nullable=False),
    sa.Column("disputed_at", MOMENT, nullable=True),
    sa.Column("taken_by", sa.Uuid(), nullable=True),
)


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column("pending", sa.Boolean(), server_default=FALSE, nullable=False),
        schema="ferryman",
    )
    op.add_column(
        "vendor_states", sa.Column("polled_until", MOMENT, nullable=True), schema="ferryman"
    )
    for column in CHARGES:
        op.add_column("charges", column, schema="ferryman")
    op.create_check_constraint(
        op.f("charges_status_check"), "charges", f"status IN ({CHARGE_STATUSES})", schema="ferryman"
    )
    op.create_index(
        "charges_session_idx",
        "charges",
        ["vendor", "vendor_session"],
        schema="ferryman",
        postgresql_where=sa.text("vendor_session IS NOT NULL"),
    )
    op.create_index(
        "charges_taken_idx",
        "charges",
        ["taken_by"],
        schema="ferryman",
        postgresql_where=sa.text("taken_by IS NOT NULL"),
    )
    op.add_column("refunds", sa.Column("told_at", MOMENT, nullable=True), schema="ferryman")
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), server_default=sa.text("'default'"), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("due_at", MOMENT, server_default=NOW, nullable=True),
        sa.Column("tries", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("handled_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("via IN ('webhook', 'poll')", name=op.f("events_via_check")),
        sa.PrimaryKeyConstraint("id", name="events_pkey"),
        sa.UniqueConstraint(
            "vendor", "account", "event_id", name="events_vendor_account_event_id_key"
        ),
        schema="ferryman",
    )
    op.create_index(
        "events_due_idx",
        "events",
        ["due_at"],
        schema="ferryman",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    for functions in sorted(Path(__file__).parent.glob("0003_*.sql")):
        op.get_bind().exec_driver_sql(functions.read_text())


def downgrade() -> None:
    """A ledger goes forward only: what vendors have told is never thrown away."""
    raise RuntimeError("there is no way back from this schema: restore a backup instead")
