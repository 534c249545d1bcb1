"""What `/v1/jobs/states` takes and tells."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import JobError, Status

MOST = 1000


class JobIds(BaseModel):
    """Which jobs are asked for."""

    model_config = ConfigDict(extra="forbid", title="Job ids")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST)]


class JobState(BaseModel):
    """How a job is."""

    id: UUID
    status: Status
    error: JobError | None


class JobStates(BaseModel):
    """How some jobs are."""

    jobs: list[JobState]
