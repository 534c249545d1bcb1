"""The ledger's tables, all in the PostgreSQL schema `ferryman`.

Statements stand in the files named by what happens (`walk.py`, `payments.py`, `mail.py` …).
There are no foreign keys between the hot tables: one transaction writes a job and what hangs on
it, and a check per row would cost more than the statement itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, ENUM, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "ferryman"
STATUSES = ("waiting", "running", "succeeded", "failed", "unknown", "cancelled")
EMAIL_STATUSES = (
    "waiting",
    "sending",
    "sent",
    "failed",
    "unknown",
    "suppressed",
    "invalid",
    "duplicate",
    "cancelled",
)
DELIVERIES = ("processed", "deferred", "delivered", "bounced", "dropped")
SUPPRESSION_REASONS = ("bounce", "invalid", "complaint", "unsubscribe", "manual")
CHARGE_STATUSES = (
    "requires_action",
    "processing",
    "authorized",
    "succeeded",
    "partially_refunded",
    "refunded",
    "disputed",
    "cancelled",
    "failed",
)
priority_type = ENUM("high", "normal", "low", name="priority", schema=SCHEMA)
# Kinds whose jobs travel together, in loads. An index serves only a statement with the same words.
RIDING = ("track_event", "identify_user", "upsert_contact")
RIDE = f"kind = ANY ('{{{','.join(RIDING)}}}'::text[])"
# The jobs that carry them.
LOADS = f"kind = ANY ('{{{','.join(f'{kind}_load' for kind in RIDING)}}}'::text[])"
NOW = text("now()")
ZERO = text("0")


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=column)


class Base(DeclarativeBase):
    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "pk": "%(table_name)s_pkey",
        },
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a plain attribute
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        bytes: BYTEA,
        str: Text,
        int: BigInteger,
    }


class Job(Base):
    """One intent to cause one effect at a vendor."""

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("status", STATUSES),
        Index(
            "jobs_due_idx",
            "vendor",
            "priority",
            "run_at",
            postgresql_where=text(f"status = 'waiting' AND published_at IS NULL AND NOT ({RIDE})"),
        ),
        Index(
            "jobs_riders_idx",
            "vendor",
            "kind",
            "priority",
            "run_at",
            postgresql_where=text(f"status = 'waiting' AND {RIDE}"),
        ),
        Index(
            "jobs_published_idx",
            "vendor",
            "published_at",
            postgresql_where=text("status = 'waiting' AND published_at IS NOT NULL"),
        ),
        Index(
            "jobs_held_idx",
            "worker_id",
            postgresql_where=text("status = 'running' AND worker_id IS NOT NULL"),
        ),
        Index("jobs_look_idx", "vendor", "look_at", postgresql_where=text("status = 'unknown'")),
        Index(
            "jobs_expires_idx",
            "expires_at",
            postgresql_where=text("status = 'waiting' AND expires_at IS NOT NULL"),
        ),
        Index("jobs_batch_idx", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index("jobs_listed_idx", "created_at", "id"),
        Index("jobs_status_idx", "status", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    args: Mapped[dict[str, Any]]
    key: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    reason: Mapped[str | None]
    priority: Mapped[str] = mapped_column(priority_type, server_default=text("'normal'"))
    attempts: Mapped[int] = mapped_column(server_default=ZERO)
    run_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    batch_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    # What only the walk itself reads.
    worker_id: Mapped[UUID | None]
    claim: Mapped[UUID | None]
    fence: Mapped[int] = mapped_column(server_default=ZERO)
    deadline_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    publishes: Mapped[int] = mapped_column(server_default=ZERO)
    crashes: Mapped[int] = mapped_column(server_default=ZERO)
    throttled_since: Mapped[datetime | None]
    # When it was first to run: retries and parks move `run_at`, but not the longest wait.
    due_at: Mapped[datetime] = mapped_column(server_default=NOW)
    # When an `unknown` job is looked up at its vendor; none: only a webhook or a person can tell.
    look_at: Mapped[datetime | None]
    looks: Mapped[int] = mapped_column(server_default=ZERO)
    # It runs for a look-up, and must send nothing.
    looking: Mapped[bool] = mapped_column(server_default=text("false"))
    # Counts the times that its absence was proven: each has vendor keys of its own.
    round: Mapped[int] = mapped_column(server_default=ZERO)
    cancel_at: Mapped[datetime | None]
    # Its effect is under way at the vendor, and its payer or a bank decides: it waits for that.
    pending: Mapped[bool] = mapped_column(server_default=text("false"))
    # Of a kind that rides: the load that carries it, or did last.
    load: Mapped[UUID | None]


class JobKey(Base):
    """A producer's idempotency key. It outlives its job: an old key has no second effect."""

    __tablename__ = "job_keys"

    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    args_hash: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Route(Base):
    """Which vendors can do a kind, and which one does when the producer names none.

    `prefixes`: arguments whose beginning chooses this vendor (`destination` with `s3://`).
    `follows`: an argument that names a job, whose vendor is taken (a refund follows its charge).
    """

    __tablename__ = "routes"

    kind: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str] = mapped_column(primary_key=True)
    is_default: Mapped[bool]
    follows: Mapped[str | None]
    prefixes: Mapped[dict[str, Any]]


class Worker(Base):
    """One worker process and its lease."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime] = mapped_column(index=True)
    concurrency: Mapped[int] = mapped_column(server_default=ZERO)


class Attempt(Base):
    """One execution of a job by a worker. Its number is the fence it holds."""

    __tablename__ = "attempts"
    # Costs the walk nothing: an attempt's end stays an update within its page.
    __table_args__ = (
        Index(
            "attempts_finished_idx",
            "finished_at",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[UUID]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    # Of a rider: the load whose attempt this was.
    load: Mapped[UUID | None]


class Send(Base):
    """One request that may have left. Without `answered_at` its effect is in doubt."""

    __tablename__ = "sends"

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    vendor_key: Mapped[str]
    repeat: Mapped[str]
    repeat_until: Mapped[datetime | None]
    request: Mapped[dict[str, Any]]
    sent_at: Mapped[datetime] = mapped_column(server_default=NOW)
    answered_at: Mapped[datetime | None]


class Intervention(Base):
    """What came from outside a job's walk: a retry, a cancel, a resolution, a late proof."""

    __tablename__ = "interventions"
    __table_args__ = (Index("interventions_job_idx", "job_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    who: Mapped[str]
    action: Mapped[str]
    was: Mapped[str]
    became: Mapped[str]
    note: Mapped[str | None]


class Interaction(Base):
    """One HTTP exchange with a vendor, redacted."""

    __tablename__ = "interactions"
    __table_args__ = (Index("interactions_job_idx", "job_id", "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    attempt: Mapped[int]
    vendor: Mapped[str]
    method: Mapped[str]
    url: Mapped[str]
    status_code: Mapped[int | None]
    vendor_request_id: Mapped[str | None]
    latency_ms: Mapped[int]
    request: Mapped[dict[str, Any] | None]
    response: Mapped[dict[str, Any] | None]
    at: Mapped[datetime]


class VendorState(Base):
    """What all workers share about a vendor: its breaker, its cool-down, its pause."""

    __tablename__ = "vendor_states"
    __table_args__ = (one_of("breaker", ("closed", "open", "half-open")),)

    vendor: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True, server_default=text("'default'"))
    breaker: Mapped[str] = mapped_column(server_default=text("'closed'"))
    failures: Mapped[int] = mapped_column(server_default=ZERO)
    generation: Mapped[int] = mapped_column(server_default=ZERO)
    opened_at: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]
    probe_until: Mapped[datetime | None]
    cooldown_until: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_note: Mapped[str | None]
    pause_fingerprint: Mapped[str | None]
    # After a successful probe, until one process has had all its slots at work again.
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    # What the vendor's own headers say: requests in its window, what is left of them, its end.
    quota_limit: Mapped[int | None]
    quota_remaining: Mapped[int | None]
    quota_reset_at: Mapped[datetime | None]
    # Its list of events was read up to here, by the vendor's time.
    polled_until: Mapped[datetime | None]
    # A day's limit, apart from that of a second or a minute.
    daily_limit: Mapped[int | None]
    daily_remaining: Mapped[int | None]
    daily_reset_at: Mapped[datetime | None]


class BreakerChange(Base):
    """The history of every breaker."""

    __tablename__ = "breaker_changes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    state: Mapped[str]


class MetricTotal(Base):
    """What attempts came to, added up for good: a counter does not fall when old rows go."""

    __tablename__ = "metric_totals"

    metric: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    seconds: Mapped[float]


class MetricMark(Base):
    """Up to when the totals reach."""

    __tablename__ = "metric_mark"

    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Batch(Base):
    """The children of one bulk job, whose id it has.

    `letter` holds the job's arguments without the recipients. `failed`, `suppressed`, `invalid`
    and `duplicate` count the recipients that are set aside one by one; all others follow their
    part (`parts`) or have a job of their own (`messages`), and `ferryman.batch()` adds them up.
    The counts of what vendors told (`delivered` …) are of recipients. `per_minute`: no more
    leave in a minute; `next_at`: when the next may. It is `done` when nothing of it is open.

    Of a sync: `cursor` is the last key that is planned, `targets` what the destination holds,
    `surplus` of which the source has none, `kept` those that the plan found the same, `bytes` all
    that is to be copied, `bandwidth` in bytes a second. `awaits`: its job waits for its parts.
    """

    __tablename__ = "batches"
    __table_args__ = (
        one_of("status", ("running", "paused", "cancelled")),
        Index("batches_awaits_idx", "id", postgresql_where=text("awaits")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(unique=True)
    letter: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(server_default=text("'running'"))
    total: Mapped[int] = mapped_column(server_default=ZERO)
    failed: Mapped[int] = mapped_column(server_default=ZERO)
    suppressed: Mapped[int] = mapped_column(server_default=ZERO)
    invalid: Mapped[int] = mapped_column(server_default=ZERO)
    duplicate: Mapped[int] = mapped_column(server_default=ZERO)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    # Why it is paused, or was cancelled.
    reason: Mapped[str | None]
    planned_at: Mapped[datetime | None]
    per_minute: Mapped[int | None]
    next_at: Mapped[datetime | None]
    max_bounce_rate: Mapped[float | None]
    max_complaint_rate: Mapped[float | None]
    processed: Mapped[int] = mapped_column(server_default=ZERO)
    delivered: Mapped[int] = mapped_column(server_default=ZERO)
    deferred: Mapped[int] = mapped_column(server_default=ZERO)
    bounced: Mapped[int] = mapped_column(server_default=ZERO)
    dropped: Mapped[int] = mapped_column(server_default=ZERO)
    opened: Mapped[int] = mapped_column(server_default=ZERO)
    clicked: Mapped[int] = mapped_column(server_default=ZERO)
    complained: Mapped[int] = mapped_column(server_default=ZERO)
    unsubscribed: Mapped[int] = mapped_column(server_default=ZERO)
    cursor: Mapped[str | None]
    awaits: Mapped[bool] = mapped_column(server_default=text("false"))
    bandwidth: Mapped[int | None]
    targets: Mapped[int] = mapped_column(server_default=ZERO)
    surplus: Mapped[int] = mapped_column(server_default=ZERO)
    kept: Mapped[int] = mapped_column(server_default=ZERO)
    bytes: Mapped[int] = mapped_column(server_default=ZERO)


class Part(Base):
    """One request of a batch, and how many mails share its status.

    Of a sync: objects that one job copies or deletes, those from `first_key` to `last_key` that
    have its number. `done`, `kept` and `failed` of them are decided, the others have the part's
    status. `held`: not to be released before its turn. `bytes`: to be copied; `bytes_done`: of
    which are.
    """

    __tablename__ = "parts"
    __table_args__ = (
        one_of("status", EMAIL_STATUSES),
        one_of("action", ("copy", "delete")),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("done + kept + failed <= size", name="counts"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    batch_id: Mapped[UUID] = mapped_column(index=True)
    part: Mapped[int]
    status: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    size: Mapped[int]
    reason: Mapped[str | None]
    vendor_reference: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    action: Mapped[str | None]
    first_key: Mapped[str | None] = mapped_column(Text(collation="C"))
    last_key: Mapped[str | None] = mapped_column(Text(collation="C"))
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    done: Mapped[int] = mapped_column(server_default=ZERO)
    kept: Mapped[int] = mapped_column(server_default=ZERO)
    failed: Mapped[int] = mapped_column(server_default=ZERO)
    bytes: Mapped[int] = mapped_column(server_default=ZERO)
    bytes_done: Mapped[int] = mapped_column(server_default=ZERO)


class BatchMinute(Base):
    """What became known in one minute of a batch's mails: for how many bounce and complain."""

    __tablename__ = "batch_minutes"

    batch_id: Mapped[UUID] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    delivered: Mapped[int] = mapped_column(server_default=ZERO)
    bounced: Mapped[int] = mapped_column(server_default=ZERO)
    complained: Mapped[int] = mapped_column(server_default=ZERO)


class Upload(Base):
    """A list of recipients as it was given: CSV, JSON or JSON lines. Its id is made of its content,
    so that the same list is kept once. Complete when `rows` is set."""

    __tablename__ = "uploads"
    __table_args__ = (one_of("format", ("csv", "json", "jsonl")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    format: Mapped[str | None]
    rows: Mapped[int | None]
    bytes: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class UploadPiece(Base):
    """A piece of an upload; together, by place, they are its bytes."""

    __tablename__ = "upload_pieces"

    upload_id: Mapped[UUID] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes]


class Suppression(Base):
    """An address that nothing is sent to: in lower case, or a number in E.164. `source`: who said
    so, a vendor's event, a vendor's own list or a person."""

    __tablename__ = "suppressions"
    __table_args__ = (
        one_of("channel", ("email", "sms")),
        one_of("reason", SUPPRESSION_REASONS),
    )

    channel: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    source: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=NOW)


class Customer(Base):
    """An application's user at a vendor, created there once.

    `creating_until` is a short lease: who holds it creates the customer, the others wait.
    """

    __tablename__ = "customers"
    __table_args__ = (UniqueConstraint("vendor", "account", "app_user"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    app_user: Mapped[str]
    vendor_reference: Mapped[str | None]
    creating_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Charge(Base):
    """One payment. Amounts in ISO 4217 minor units; its id is that of the job that made it.

    `amount`: what was taken; before that, what is asked for or held. `vendor_session`: the
    vendor's handle of what the payment is made by, where that is not the payment itself.
    `taken_by`: the job that takes a held payment, or lets go of it.
    """

    __tablename__ = "charges"
    __table_args__ = (
        UniqueConstraint("vendor", "account", "vendor_reference"),
        one_of("status", CHARGE_STATUSES),
        CheckConstraint("reserved >= 0 AND refunded >= 0", name="sums"),
        Index(
            "charges_session_idx",
            "vendor",
            "vendor_session",
            postgresql_where=text("vendor_session IS NOT NULL"),
        ),
        Index("charges_taken_idx", "taken_by", postgresql_where=text("taken_by IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    # None: a person said that it was taken, and ferryman never saw it.
    vendor_reference: Mapped[str | None]
    vendor_session: Mapped[str | None]
    customer: Mapped[str]
    status: Mapped[str]
    amount: Mapped[int]
    currency: Mapped[str]
    reserved: Mapped[int] = mapped_column(server_default=ZERO)
    refunded: Mapped[int] = mapped_column(server_default=ZERO)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    # By the vendor's time of the last thing that was told of a dispute.
    disputed: Mapped[bool] = mapped_column(server_default=text("false"))
    disputed_at: Mapped[datetime | None]
    taken_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Refund(Base):
    """One refund of a charge; its id is that of the job that makes it. One made at the vendor's by
    a person has an id of its own. `told_at`: the vendor's time of what was last told of it."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("vendor", "account", "vendor_reference"),
        one_of("status", ("reserved", "pending", "succeeded", "failed")),
        CheckConstraint("amount > 0", name="amount"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    charge_id: Mapped[UUID] = mapped_column(index=True)
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    vendor_reference: Mapped[str | None]
    status: Mapped[str]
    amount: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str | None]
    told_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Event(Base):
    """What a vendor told by itself: one row an event, however often and by whatever way it came.

    `at` is the vendor's time. `due_at`: when it is next to be read into the ledger; none once that
    is done, and `outcome` says what came of it.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("vendor", "account", "event_id"),
        one_of("via", ("webhook", "poll")),
        Index("events_due_idx", "vendor", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    account: Mapped[str] = mapped_column(server_default=text("'default'"))
    event_id: Mapped[str]
    type: Mapped[str]
    at: Mapped[datetime]
    payload: Mapped[dict[str, Any]]
    via: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=NOW)
    due_at: Mapped[datetime | None] = mapped_column(server_default=NOW)
    tries: Mapped[int] = mapped_column(server_default=ZERO)
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class Mail(Base):
    """One mail to one recipient, alone or out of a batch; `ferryman.emails` is its view for
    readers. Without a `status` of its own it has that of its part. `place`: where it stood in the
    list, from 1. `delivery` and the times below it: what the vendor told since.
    """

    __tablename__ = "mails"
    __table_args__ = (
        one_of("status", EMAIL_STATUSES),
        one_of("delivery", DELIVERIES),
        Index("mails_job_idx", "job_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    batch_id: Mapped[UUID | None]
    vendor: Mapped[str]
    recipient: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    template: Mapped[str | None]
    status: Mapped[str | None]
    reason: Mapped[str | None]
    vendor_reference: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    place: Mapped[int | None]
    delivery: Mapped[str | None]
    delivery_at: Mapped[datetime | None]
    delivery_reason: Mapped[str | None]
    opened_at: Mapped[datetime | None]
    clicked_at: Mapped[datetime | None]
    complained_at: Mapped[datetime | None]
    unsubscribed_at: Mapped[datetime | None]


class Message(Base):
    """One text message; its id is that of its job, or of its own where it is set aside.
    `segments`: what it will be billed as, estimated. `delivery`: the vendor's last word on it."""

    __tablename__ = "messages"
    __table_args__ = (
        one_of("status", EMAIL_STATUSES),
        Index("messages_job_idx", "job_id"),
        Index("messages_batch_idx", "batch_id", "status"),
        Index("messages_recipient_idx", "recipient"),
        Index(
            "messages_reference_idx",
            "vendor",
            "vendor_reference",
            postgresql_where=text("vendor_reference IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    batch_id: Mapped[UUID | None]
    vendor: Mapped[str]
    place: Mapped[int | None]
    recipient: Mapped[str]
    sender: Mapped[str | None]
    body: Mapped[str]
    segments: Mapped[int]
    status: Mapped[str]
    reason: Mapped[str | None]
    vendor_reference: Mapped[str | None]
    delivery: Mapped[str | None]
    delivery_at: Mapped[datetime | None]
    delivery_reason: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Object(Base):
    """One object of a sync: what was to be done with it, and what became of that.

    `key`: in the bucket, also of what lies in a folder beside it. `size`, `last_modified`,
    `source_…` and `digests`: of the source, as it was listed; `path`: where a link in a folder
    leads. `target_…`: what the listing saw at the destination, None: nothing. `etag`, `version`
    and `checksum` (SHA-256): of what stands there since. `part`: which child moves it; None: the
    plan has decided. `fold`: equal for names that some file systems take for the same.
    """

    __tablename__ = "objects"
    __table_args__ = (
        one_of("action", ("copy", "keep", "delete", "refuse", "compare")),
        one_of("outcome", ("planned", "done", "failed", "refused", "cancelled")),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    bucket: Mapped[str | None]
    action: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    size: Mapped[int | None]
    last_modified: Mapped[datetime | None]
    etag: Mapped[str | None]
    checksum: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    part: Mapped[int | None]
    path: Mapped[str | None]
    source_version: Mapped[str | None]
    source_etag: Mapped[str | None]
    target_etag: Mapped[str | None]
    target_version: Mapped[str | None]
    version: Mapped[str | None]
    digests: Mapped[dict[str, Any] | None]
    target_digests: Mapped[dict[str, Any] | None]
    fold: Mapped[int | None]


class Multipart(Base):
    """One upload in parts: on record before it is begun, so that none is left at the vendor.

    `key`: the object's row. `target`: the whole key at the vendor. `upload_id`: None until the
    vendor's answer is on record. `source`: what is uploaded, such as `sha256:…` or `etag:…`.
    """

    __tablename__ = "multiparts"
    __table_args__ = (
        one_of("status", ("open", "done", "aborted")),
        Index(
            "multiparts_open_idx",
            "vendor",
            "bucket",
            postgresql_where=text("status = 'open'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(index=True)
    key: Mapped[str] = mapped_column(Text(collation="C"))
    vendor: Mapped[str]
    bucket: Mapped[str]
    target: Mapped[str]
    upload_id: Mapped[str | None]
    source: Mapped[str]
    size: Mapped[int]
    part_bytes: Mapped[int]
    status: Mapped[str] = mapped_column(server_default=text("'open'"))
    begun_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]


class Load(Base):
    """Jobs of one kind that travelled to their vendor in one request, or in the pieces of one.

    Its id is that of the job that carries it. `riders`: in the request's order, since a vendor
    names records by their place. `bytes`: of all records, before they are packed.
    """

    __tablename__ = "loads"
    __table_args__ = (Index("loads_open_idx", "job_id", postgresql_where=text("ended_at IS NULL")),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    kind: Mapped[str]
    riders: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    records: Mapped[int]
    bytes: Mapped[int]
    requests: Mapped[int] = mapped_column(server_default=text("1"))
    taken_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]


class Contact(Base):
    """A person in a vendor's CRM, as far as ferryman knows.

    `identity`: what he is known by there, an e-mail address in lower case or the application's own
    id. `vendor_reference`: the vendor's id of him. `job_id`: which job changes him, or did last.
    `told_at`: the vendor's time of what it last told.
    """

    __tablename__ = "contacts"
    __table_args__ = (
        UniqueConstraint("vendor", "identity"),
        one_of("status", ("new", "active", "deleted")),
        Index(
            "contacts_reference_idx",
            "vendor",
            "vendor_reference",
            postgresql_where=text("vendor_reference IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    identity: Mapped[str]
    email: Mapped[str | None]
    external_id: Mapped[str | None]
    vendor_reference: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=text("'new'"))
    fields: Mapped[dict[str, Any] | None]
    job_id: Mapped[UUID | None]
    told_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SetAside(Base):
    """A record of an import that is not sent: which line it was, what it held, and why."""

    __tablename__ = "set_aside"
    __table_args__ = (one_of("status", ("invalid", "duplicate")),)

    batch_id: Mapped[UUID] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    given: Mapped[dict[str, Any] | None]
    status: Mapped[str]
    field: Mapped[str | None]
    reason: Mapped[str]
