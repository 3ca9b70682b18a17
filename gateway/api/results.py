"""A job's results and errors, streamed a shard at a time."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import IO, Annotated, Any, NamedTuple

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fornada.trust.printable import printable_json
from gateway.api.jobs import job_of
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from gateway.http.streams import StreamedAnswer
from producer.exporting.catalog import FORMATS
from producer.exporting.files import check_options
from producer.exporting.interface import Export
from producer.exporting.rows import encoded

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])

JSON_LINES = "application/jsonl"


class ResultFormat(StrEnum):
    """A file of results; as `fornada jobs results --format` writes it."""

    JSONL = "jsonl"
    CSV = "csv"
    NPY = "npy"
    NPZ = "npz"
    PARQUET = "parquet"
    ARROW = "arrow"
    SAFETENSORS = "safetensors"


_MEDIA_TYPES: Mapping[ResultFormat, str] = MappingProxyType(
    {
        ResultFormat.JSONL: JSON_LINES,
        ResultFormat.CSV: "text/csv; charset=utf-8",
        ResultFormat.NPY: "application/octet-stream",
        ResultFormat.NPZ: "application/zip",
        ResultFormat.PARQUET: "application/vnd.apache.parquet",
        ResultFormat.ARROW: "application/vnd.apache.arrow.file",
        ResultFormat.SAFETENSORS: "application/octet-stream",
    }
)
_TEXT_FORMATS = (ResultFormat.JSONL, ResultFormat.CSV)
_TEXT = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file. One that turns out to be damaged is cut off: the connection ends "
        "before the last chunk.",
        "content": {
            kind.partition(";")[0]: {"schema": _TEXT if fmt in _TEXT_FORMATS else _BINARY}
            for fmt, kind in _MEDIA_TYPES.items()
        },
    }
}


class ResultQuery(BaseModel):
    """Which results, and how they are written."""

    model_config = ConfigDict(extra="forbid")

    format: ResultFormat = ResultFormat.JSONL
    top_k: int | None = Field(
        default=None, ge=1, le=1000, description="How many of the likeliest classes to list."
    )
    partial: bool = Field(
        default=False,
        description="Also of a job that is open, or ended FAILED, CANCELLED or EXPIRED; items "
        "without a result say why.",
    )


@router.get("/results", response_class=Response, responses=_STREAMED)
def read_results(
    job_id: str, query: Annotated[ResultQuery, Query()], deployment: TheDeployment, caller: Caller
) -> Response:
    """The results of all items, in order; 409 while the job is open, unless `partial`."""
    caller.require(Scope.RESULTS_READ)
    job = job_of(job_id, deployment, caller)
    manifest = job.manifest
    export = Export(
        parts=job.shard_results(partial=query.partial),
        item_count=manifest.item_count,
        gives=manifest.gives,
        model=str(manifest.model),
        top_k=query.top_k,
    )
    check_options(export, query.format)
    fmt = FORMATS[query.format]
    return StreamedAnswer(
        lambda file: fmt.write(export, file),
        size_bytes=None if fmt.size_bytes is None else fmt.size_bytes(export),
        media_type=_MEDIA_TYPES[query.format],
        filename=f"{manifest.job_id}.{query.format}",
    )


class FailedItemDocument(NamedTuple):
    """A line of the errors: an item without a result."""

    item: int
    item_id: str
    reason: str


@router.get(
    "/errors",
    response_class=Response,
    responses={
        200: {
            "description": "A line for each failed item: "
            '`{"item": 7, "item_id": "a", "reason": "…"}`.',
            "content": {JSON_LINES: {"schema": {"type": "string"}}},
        }
    },
)
def read_errors(job_id: str, deployment: TheDeployment, caller: Caller) -> Response:
    """The failed items and why, as JSON lines; of an open job, those that failed so far."""
    caller.require(Scope.RESULTS_READ)
    job = job_of(job_id, deployment, caller)

    def write(file: IO[bytes]) -> None:
        for failed in job.item_errors():
            line = FailedItemDocument(failed.item, failed.item_id, failed.reason)
            file.write(encoded(f"{printable_json(line._asdict())}\n"))

    return StreamedAnswer(write, media_type=JSON_LINES, filename=f"{job_id}.errors.jsonl")
