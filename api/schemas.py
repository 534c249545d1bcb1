"""What goes in and out over HTTP: one typed model a document."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

Status = Literal["waiting", "running", "succeeded", "failed", "unknown", "cancelled"]
Priority = Literal["high", "normal", "low"]
Breaker = Literal["closed", "open", "half-open"]

RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
FIRST_YEAR, LAST_YEAR = 1970, 9998
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def moment(given: object) -> datetime:
    """A time with its zone, as UTC. Raises ValueError."""
    text = given.upper() if isinstance(given, str) else ""
    try:
        if not RFC_3339.fullmatch(text):
            raise ValueError
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be an RFC 3339 time with its zone, such as 2030-01-31T12:00:00Z"
        ) from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return at


def moment_in_query(given: object) -> datetime:
    """The same out of a query string, where a `+` that was not quoted has become a space."""
    return moment(given.replace(" ", "+") if isinstance(given, str) else given)


def _printable(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})
Moment = Annotated[datetime, BeforeValidator(moment), DATE_TIME]
QueryMoment = Annotated[datetime, BeforeValidator(moment_in_query), DATE_TIME]
Utc = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC)), DATE_TIME]
printable = AfterValidator(_printable)
# What that takes, as the document can say it.
PRINTABLE: dict[str, Any] = {"pattern": r"^[^\u0000-\u001f\u007f]*$"}
Word = Annotated[
    str,
    Field(min_length=1, max_length=255, json_schema_extra=PRINTABLE),
    printable,
]
NoteText = Annotated[
    str,
    Field(min_length=1, max_length=500, json_schema_extra=PRINTABLE),
    printable,
]
# Spelled out in `results.py`: what stands in the ledger is shown, whoever wrote it.
JobError = Annotated[dict[str, Any], WithJsonSchema({"$ref": "#/components/schemas/JobError"})]


class NewJob(BaseModel):
    """A job to be done once."""

    model_config = ConfigDict(extra="forbid", strict=True, title="New job")

    kind: Word = Field(description="what is to be done")
    args: dict[str, Any] = Field(description="the arguments of that kind")
    key: Word | None = Field(
        None, description="the same key and arguments always name the same job; kept for good"
    )
    run_at: Moment | None = Field(None, description="not before this time; absent: now")
    expires_at: Moment | None = Field(
        None, description="a job still waiting then is failed with the code `expired`"
    )
    priority: Priority | None = Field(None, description="order within a vendor; absent: normal")
    vendor: Word | None = Field(None, description="absent: chosen by the arguments or configured")


class Job(BaseModel):
    """One intent to cause one effect at a vendor."""

    id: UUID
    kind: str
    vendor: str
    status: Status
    reason: str | None = Field(description="why a waiting job waits")
    priority: Priority
    attempts: int = Field(description="runs that count against the maximum")
    run_at: Utc
    expires_at: Utc | None
    result: dict[str, Any] | None
    error: JobError | None
    key: str | None
    batch_id: UUID | None
    created_at: Utc
    finished_at: Utc | None


class RetriedJob(Job):
    """A job that a person had run again."""

    warning: str | None = Field(None, description="what may go wrong with that; null: nothing")


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    next: str | None = Field(description="the `cursor` of the next page; null on the last one")


class Interaction(BaseModel):
    """One exchange with a vendor, redacted."""

    id: UUID
    attempt: int
    vendor: str
    method: str
    url: str
    status_code: int | None = Field(description="null: no answer came")
    vendor_request_id: str | None
    latency_ms: int
    request: dict[str, Any] | None
    response: dict[str, Any] | None
    at: Utc


class Attempt(BaseModel):
    """One execution of a job by a worker."""

    number: int
    worker: UUID
    started_at: Utc
    finished_at: Utc | None
    outcome: str | None
    error: dict[str, Any] | None
    load: UUID | None = Field(description="the job that sent it together with others, if one did")
    interactions: list[Interaction]


class Intervention(BaseModel):
    """What came from outside a job's own walk: a retry, a cancel, a resolution, a late proof."""

    at: Utc
    who: str
    action: str
    was: str = Field(description="the job's status before")
    became: str = Field(description="the job's status after")
    note: str | None


class Attempts(BaseModel):
    attempts: list[Attempt]
    interventions: list[Intervention] = Field(description="oldest first")


class Note(BaseModel):
    """Why a person does it, for those who come later."""

    model_config = ConfigDict(extra="forbid", strict=True)

    note: NoteText


class OptionalNote(BaseModel):
    """Why a person does it; may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Optional note")

    note: NoteText | None = None


class Resolution(BaseModel):
    """What a person found out about a job that is `unknown`, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    outcome: Literal["succeeded", "failed"] = Field(
        description="succeeded: its effect is there; failed: it is surely not"
    )
    note: NoteText = Field(description="how that was found out")


class Replay(BaseModel):
    """Which failed jobs are to run again; all of them where no condition is given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Word | None = None
    vendor: Word | None = None
    since: Moment | None = Field(None, description="failed at that time or later")
    code: Word | None = Field(None, description="`code` of the job's error")
    note: NoteText | None = None
    dry_run: bool = Field(description="true: count them, and change nothing")


class Replayed(BaseModel):
    count: int = Field(description="how many jobs run again, or would")


class Limit(BaseModel):
    """What ferryman itself keeps to, by `vendors.toml`; 0 is no limit."""

    per_second: float
    burst: int = Field(description="calls that may go at once after a pause")
    in_flight: int


class Quota(BaseModel):
    """What the vendor's own headers said last."""

    limit: int | None
    remaining: int | None
    reset_at: Utc | None


class Daily(BaseModel):
    """A limit of a whole day, by what the vendor said last. At 0 its jobs wait until it resets."""

    limit: int | None
    remaining: int | None = Field(description="null: a new day has begun")
    resets_at: Utc | None = Field(description="null: not known, or rolling")


class Pause(BaseModel):
    since: Utc
    by: str | None
    note: str | None


class LastHour(BaseModel):
    """The calls of the last hour. Latencies in milliseconds."""

    calls: int
    errors: int = Field(description="calls without an answer, or with a 5xx")
    error_rate: float = Field(description="0 to 1")
    throttled: int = Field(description="calls answered with 429")
    latency_p50_ms: int | None
    latency_p95_ms: int | None


class BreakerChange(BaseModel):
    at: Utc
    state: Breaker


class Vendor(BaseModel):
    """A vendor's scorecard."""

    vendor: str
    kinds: list[str]
    breaker: Breaker
    failures: int = Field(description="failures in a row, as the breaker counts")
    unavailable_since: Utc | None
    next_probe_at: Utc | None
    cooldown_until: Utc | None = Field(description="until then nobody calls it: its own limit")
    limit: Limit
    quota: Quota | None = Field(description="null where the vendor tells none")
    daily: Daily | None = Field(description="null where the vendor tells of no such limit")
    paused: Pause | None
    waiting: int
    in_flight: int
    unknown: int
    oldest_due_at: Utc | None = Field(description="since when the oldest due job waits")
    last_hour: LastHour
    webhooks: Literal["open", "closed"] | None = Field(
        description="whether what it sends is taken; null: it sends nothing"
    )
    polls_events: bool = Field(
        description="whether its own list of events can be read, with what is set for this API"
    )
    breaker_changes: list[BreakerChange] = Field(description="the latest, oldest first")


class Vendors(BaseModel):
    vendors: list[Vendor]


class PollEvents(BaseModel):
    """How far back to look."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Poll events")

    since_seconds: int | None = Field(
        None, ge=1, le=2_592_000, description="absent: a little before the last such look"
    )


class Taken(BaseModel):
    """What a webhook held."""

    events: int
    new: int = Field(description="how many of them were not known yet")


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    degraded: list[str] = Field(description="what is down while jobs are still accepted")


class Index(BaseModel):
    name: str
    version: str
    openapi: str
    jobs: str
    vendors: str
    health: list[str]
    metrics: str


class FieldError(BaseModel):
    field: str
    message: str


class ProblemDocument(BaseModel):
    """An error, RFC 9457."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="`/problems/<kind>`", examples=["/problems/invalid-arguments"])
    title: str
    status: int
    detail: str
    field: str | None = Field(None, description="the first field that is not acceptable")
    errors: list[FieldError] | None = None
