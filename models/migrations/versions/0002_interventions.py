"""Look-ups, cancels, retries and resolutions; the breaker's drain; quotas; enqueue in bulk."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
ZERO = sa.text("0")
FALSE = sa.text("false")
JOBS: tuple[sa.Column[Any], ...] = (
    sa.Column("look_at", MOMENT, nullable=True),
    sa.Column("looks", sa.BigInteger(), server_default=ZERO, nullable=False),
    sa.Column("looking", sa.Boolean(), server_default=FALSE, nullable=False),
    sa.Column("round", sa.BigInteger(), server_default=ZERO, nullable=False),
    sa.Column("cancel_at", MOMENT, nullable=True),
)
VENDOR_STATES: tuple[sa.Column[Any], ...] = (
    sa.Column("draining", sa.Boolean(), server_default=FALSE, nullable=False),
    sa.Column("quota_limit", sa.BigInteger(), nullable=True),
    sa.Column("quota_remaining", sa.BigInteger(), nullable=True),
    sa.Column("quota_reset_at", MOMENT, nullable=True),
)


def upgrade() -> None:
    for column in JOBS:
        op.add_column("jobs", column, schema="ferryman")
    for column in VENDOR_STATES:
        op.add_column("vendor_states", column, schema="ferryman")
    op.add_column(
        "workers",
        sa.Column("concurrency", sa.BigInteger(), server_default=ZERO, nullable=False),
        schema="ferryman",
    )
    op.alter_column("charges", "vendor_reference", nullable=True, schema="ferryman")
    op.create_index(
        "jobs_look_idx",
        "jobs",
        ["vendor", "look_at"],
        schema="ferryman",
        postgresql_where=sa.text("status = 'unknown'"),
    )
    op.create_index(
        "jobs_expires_idx",
        "jobs",
        ["expires_at"],
        schema="ferryman",
        postgresql_where=sa.text("status = 'waiting' AND expires_at IS NOT NULL"),
    )
    op.create_table(
        "interventions",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="interventions_pkey"),
        schema="ferryman",
    )
    op.create_index("interventions_job_idx", "interventions", ["job_id", "at"], schema="ferryman")
    for functions in sorted(Path(__file__).parent.glob("0002_*.sql")):
        op.get_bind().exec_driver_sql(functions.read_text())


def downgrade() -> None:
    """A ledger goes forward only: what came from outside a job's walk is never thrown away."""
    raise RuntimeError("there is no way back from this schema: restore a backup instead")
