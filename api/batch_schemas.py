"""What goes in and out over HTTP about many at once: batches of recipients or objects, and whom
nothing is sent to."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import NoteText, Utc, Word

RecipientStatus = Literal[
    "waiting",
    "sending",
    "sent",
    "failed",
    "unknown",
    "suppressed",
    "invalid",
    "duplicate",
    "cancelled",
]
Channel = Literal["email", "sms"]
ObjectAction = Literal["copy", "keep", "delete", "refuse", "compare"]
ObjectOutcome = Literal["planned", "done", "failed", "refused", "cancelled"]
SuppressionReason = Literal["bounce", "invalid", "complaint", "unsubscribe", "manual"]


class Counts(BaseModel):
    """A batch's recipients by what became of them; they sum to its total. Of a sync: its objects;
    `sent` are copied or deleted, `invalid` are refused."""

    waiting: int
    sending: int
    sent: int
    failed: int
    unknown: int
    suppressed: int
    invalid: int
    duplicate: int
    cancelled: int
    kept: int | None = Field(
        None, description="of a sync alone: objects that were the same already"
    )


class Deliveries(BaseModel):
    """What the vendor has told of a batch's recipients, each counted once in a field. Not a part of
    the counts: a mail that bounces stays `sent`."""

    processed: int
    deferred: int = Field(description="not taken yet: the vendor tries again")
    delivered: int
    bounced: int
    dropped: int = Field(description="the vendor did not try")
    opened: int
    clicked: int
    complained: int = Field(description="reported as spam")
    unsubscribed: int


class ObjectCounts(BaseModel):
    """A sync's objects by what became of them, and their bytes; of a dry run, what would have."""

    copied: int
    kept: int = Field(description="the same already")
    deleted: int
    refused: int = Field(description="not carried over, since their names or kinds forbid it")
    failed: int
    waiting: int = Field(description="yet to be copied, compared or deleted, or just on their way")
    bytes: int = Field(description="of all that are copied; as much as is known of that by now")
    bytes_done: int


class Batch(BaseModel):
    """The recipients of one bulk job, or the objects of one sync."""

    id: UUID
    kind: Literal["bulk_contacts", "bulk_email", "bulk_sms", "sync_objects"]
    status: Literal["running", "paused", "done", "cancelled"]
    reason: str | None = Field(description="why it is paused, or was cancelled")
    total: int = Field(description="grows until it is planned")
    counts: Counts
    objects: ObjectCounts | None = Field(None, description="of a sync alone")
    delivery: Deliveries
    per_minute: int | None = Field(description="no more leave in a minute; null: any number")
    created_at: Utc
    planned_at: Utc | None = Field(description="since then `total` is known")
    finished_at: Utc | None


class BatchRecipient(BaseModel):
    """One of a batch's recipients, and what became of what was sent to him."""

    id: UUID
    place: int | None = Field(description="where he stood in the list, from 1")
    to: str
    status: RecipientStatus = Field(description="what ferryman did")
    reason: str | None = Field(description="why he is set aside, or why it failed")
    data: dict[str, Any] | None
    vendor_reference: str | None
    sent_at: Utc | None
    delivery: str | None = Field(description="what the vendor told last; null: nothing yet")
    delivery_at: Utc | None
    delivery_reason: str | None
    opened_at: Utc | None
    clicked_at: Utc | None
    complained_at: Utc | None
    unsubscribed_at: Utc | None


class RecipientPage(BaseModel):
    """Recipients in the order of the list."""

    recipients: list[BatchRecipient]
    next: str | None = Field(description="the `cursor` of the next page; null on the last one")


class BatchObject(BaseModel):
    """One of a sync's objects: what was to be done with it, and what became of that."""

    key: str = Field(description="in the bucket, also of what lies in a folder beside it")
    action: ObjectAction = Field(description="compare: what it comes to is yet to be found out")
    outcome: ObjectOutcome
    reason: str | None = Field(description="why it is refused, or why it failed")
    size: int | None = Field(description="in bytes")
    last_modified: Utc | None = Field(description="of the source, when it was listed")
    bucket: str | None
    etag: str | None
    version: str | None = Field(description="what the destination calls this content")
    checksum: str | None = Field(description="SHA-256 in hex, where it is known")
    at: Utc = Field(description="when this row was written last")


class ObjectPage(BaseModel):
    """Objects in the order of their keys."""

    objects: list[BatchObject]
    next: str | None = Field(description="the `cursor` of the next page; null on the last one")


class Suppression(BaseModel):
    """An address that nothing is sent to."""

    channel: Channel
    address: str = Field(description="in lower case; a number in E.164")
    reason: SuppressionReason = Field(
        description="unsubscribe: a single mail still goes through; the others stop that as well"
    )
    source: str = Field(description="who said so: a vendor, or a person")
    at: Utc


class SuppressionPage(BaseModel):
    """Suppressed addresses, by channel and address."""

    suppressions: list[Suppression]
    next: str | None = Field(description="the `cursor` of the next page; null on the last one")


class NewSuppression(BaseModel):
    """An address that nothing is to be sent to, and why."""

    model_config = ConfigDict(extra="forbid", strict=True, title="New suppression")

    channel: Channel
    address: Word = Field(description="an e-mail address, or a number in E.164")
    note: NoteText | None = None
