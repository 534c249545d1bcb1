"""`POST /v1/jobs` and `/v1/jobs/bulk` as FastAPI's and SQLAlchemy's own pages lead to them: a model
checks the body, one transaction a request stores what it asks for, a model checks the answer."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

KEY = text("""
INSERT INTO ferryman.job_keys (kind, key, job_id, args_hash)
VALUES (:kind, :key, :id, sha256(convert_to(:args, 'UTF8'))) ON CONFLICT DO NOTHING RETURNING job_id
""")
KNOWN = text("""
SELECT j.* FROM ferryman.job_keys k JOIN ferryman.jobs j ON j.id = k.job_id
 WHERE k.kind = :kind AND k.key = :key AND k.args_hash = sha256(convert_to(:args, 'UTF8'))
""")
STORE = text("""
INSERT INTO ferryman.jobs (id, kind, vendor, args, key) VALUES (:id, :kind, 'stripe', :args, :key)
RETURNING *
""")
STORE_MANY = text("""
INSERT INTO ferryman.jobs (id, kind, vendor, args, key) VALUES (:id, :kind, 'stripe', :args, :key)
""")

engine = create_async_engine(
    os.environ["BENCH_DATABASE"].replace("postgresql:", "postgresql+psycopg:"), pool_size=10
)
app = FastAPI()
bearer = HTTPBearer()


class Charge(BaseModel):
    customer: str = Field(min_length=1, max_length=255)
    amount: int = Field(gt=0)
    currency: str = Field(pattern="^[a-z]{3}$")
    payment_method: str = Field(min_length=1, max_length=255)


class NewJob(BaseModel):
    kind: Literal["charge"]
    args: Charge
    key: str | None = Field(None, min_length=1, max_length=255)


class Job(BaseModel):
    id: UUID
    kind: str
    vendor: str
    status: str
    reason: str | None
    priority: str
    attempts: int
    run_at: datetime
    expires_at: datetime | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    key: str | None
    batch_id: UUID | None
    created_at: datetime
    finished_at: datetime | None


async def allowed(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
    if given.credentials != os.environ["BENCH_TOKEN"]:
        raise HTTPException(401)


@app.post("/v1/jobs", status_code=201, response_model=Job, dependencies=[Depends(allowed)])
async def enqueue(asked: NewJob, response: Response) -> Any:
    row = _row(asked)
    async with engine.begin() as connection:
        if asked.key is not None and not await connection.scalar(KEY, row):
            response.status_code = 200
            return await _known(connection, row)
        return (await connection.execute(STORE, row)).mappings().one()


async def _known(connection: AsyncConnection, row: dict[str, Any]) -> Any:
    found = (await connection.execute(KNOWN, row)).mappings().one_or_none()
    if found is None:
        raise HTTPException(409, "The key names another job.")
    return found


@app.post("/v1/jobs/bulk", dependencies=[Depends(allowed)])
async def bulk(request: Request) -> Response:
    lines = (await request.body()).splitlines()
    rows = [_row(NewJob.model_validate_json(line)) for line in lines]
    async with engine.begin() as connection:
        await connection.execute(STORE_MANY, rows)
    return Response("".join(f'{{"id": "{row["id"]}"}}\n' for row in rows))


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


def _row(asked: NewJob) -> dict[str, Any]:
    args = asked.args.model_dump_json()
    return {"id": uuid4(), "kind": asked.kind, "key": asked.key, "args": args}
