"""What a job of each kind has brought about, as its client sees it, and why one has not.

Where a person has said how a job ended, the result tells only what is known then.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from api.batch_schemas import Counts
from api.codes import Code

Moment = Annotated[datetime, WithJsonSchema({"type": "string", "format": "date-time"})]
Amount = Annotated[int, Field(description="minor units of ISO 4217")]
Reference = Annotated[str | None, Field(description="the vendor's own id")]


class RefusedEvent(BaseModel):
    """One of several events that the vendor has not taken."""

    place: int = Field(description="in the job's `events`, from 0")
    field: str | None
    code: Code
    message: str


class JobError(BaseModel):
    """Why a job has failed, or its end is not known."""

    model_config = ConfigDict(extra="allow", title="Job error")

    code: Code = Field(description="from one closed list, the same for all vendors")
    message: str
    type: str = Field(description="ferryman's own class of errors")
    status: int | None = Field(None, description="the vendor's HTTP status")
    field: str | None = Field(None, description="the argument that is not acceptable")
    taken: int | None = Field(None, description="of a job with several events: how many are there")
    events: list[RefusedEvent] | None = Field(None, description="and those that are not")


class ChargeResult(BaseModel):
    """A payment. It is there before the job's end where its payer or a bank has to decide, and
    tells refunds and disputes that come after it."""

    id: UUID = Field(description="what `refund`, `capture_charge` and `cancel_charge` take")
    vendor: str
    vendor_reference: Reference
    status: Literal[
        "requires_action",
        "processing",
        "authorized",
        "succeeded",
        "partially_refunded",
        "refunded",
        "disputed",
        "cancelled",
        "failed",
    ] = Field(description="authorized: held, and not taken yet")
    amount: Amount = Field(description="what was taken; before that, what is asked for or held")
    currency: str
    customer: str
    metadata: dict[str, str]
    created_at: Moment
    refunded: Amount | None = None
    action_url: str | None = Field(
        None, description="the page to send the payer to, while the status is requires_action"
    )


class RefundResult(BaseModel):
    """Money given back of a charge."""

    id: UUID
    charge: str
    vendor: str
    vendor_reference: Reference = None
    status: Literal["succeeded", "pending", "failed"] = Field(
        description="pending: the vendor has taken it on; failed: it came back"
    )
    amount: Amount | None = None
    currency: str | None = None
    created_at: Moment | None = None


class CaptureChargeResult(BaseModel):
    """A held charge that was taken, or the part of it that was."""

    id: UUID
    charge: str
    vendor: str
    vendor_reference: Reference = None
    status: Literal["succeeded"]
    amount: Amount | None = None
    currency: str | None = None
    created_at: Moment | None = None


class CancelChargeResult(BaseModel):
    """A held charge that was let go."""

    id: UUID
    charge: str
    vendor: str
    vendor_reference: Reference = None
    status: Literal["cancelled"]
    amount: Amount | None = None
    currency: str | None = None


class SendEmailResult(BaseModel):
    """A mail that the vendor has accepted."""

    id: UUID
    vendor: str
    vendor_reference: Reference
    status: Literal["sent"]
    created_at: Moment | None = None


class BulkEmailResult(BaseModel):
    """A batch of mails, as it was when it was planned. `/v1/batches/{id}` tells how far it is."""

    batch_id: UUID | None = None
    total: int | None = None
    counts: Counts | None = None


class SendSmsResult(BaseModel):
    """A text message that the vendor has accepted."""

    id: UUID
    vendor: str
    vendor_reference: Reference
    status: Literal["sent"]
    segments: int | None = Field(None, description="what it is billed as, if all goes well")
    created_at: Moment | None = None


class BulkSmsResult(BulkEmailResult):
    """A batch of messages, as it was when it was planned."""


class BulkContactsResult(BulkEmailResult):
    """An import of contacts, as it was when it was planned."""


class SyncObjectsResult(BaseModel):
    """What was done to make the destination hold what the source holds, in objects. While it goes
    only `batch_id`, `total` and `counts` are there, as they are at that moment."""

    id: UUID | None = None
    vendor: str | None = None
    batch_id: UUID | None = Field(None, description="`/v1/batches/{id}` tells more, also later")
    total: int | None = None
    counts: Counts | None = None
    copied: int | None = None
    kept: int | None = Field(None, description="objects that were the same already")
    deleted: int | None = None
    refused: int | None = None
    failed: int | None = None
    bytes: int | None = Field(None, description="of the objects that were copied")
    dry_run: bool | None = Field(None, description="true: nothing was written")


class TrackEventResult(BaseModel):
    """One event, or several, that the vendor has taken. Where it has not taken some of them, the
    job is failed, and this tells of the others."""

    id: UUID
    vendor: str
    status: Literal["accepted"] | None = Field(None, description="absent: some are refused")
    events: int | None = Field(None, description="of several: how many are taken")
    refused: int | None = Field(None, description="of several: how many are not")


class IdentifyUserResult(BaseModel):
    """What is known of a user, taken by the vendor."""

    id: UUID
    vendor: str
    status: Literal["accepted"]


class UpsertContactResult(BaseModel):
    """A contact as it stands in the CRM now."""

    id: UUID
    vendor: str
    status: Literal["saved"]
    vendor_reference: Reference


RESULTS: dict[str, type[BaseModel]] = {
    "charge": ChargeResult,
    "refund": RefundResult,
    "capture_charge": CaptureChargeResult,
    "cancel_charge": CancelChargeResult,
    "send_email": SendEmailResult,
    "bulk_email": BulkEmailResult,
    "send_sms": SendSmsResult,
    "bulk_sms": BulkSmsResult,
    "bulk_contacts": BulkContactsResult,
    "sync_objects": SyncObjectsResult,
    "track_event": TrackEventResult,
    "identify_user": IdentifyUserResult,
    "upsert_contact": UpsertContactResult,
}
