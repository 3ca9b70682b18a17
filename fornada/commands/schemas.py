"""The JSON Schemas of the records that other programs read or write."""

from typing import Any

from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import CancelRequest, JobFinal, ShardOutcome
from fornada.queue.message import ShardMessage
from fornada.records import AliasMove, Record

#: Records that other programs read or write, by the name of their JSON Schema.
PUBLIC_RECORDS: dict[str, type[Record]] = {
    "shard-message": ShardMessage,
    "job-manifest": JobManifest,
    "shard-outcome": ShardOutcome,
    "cancel-request": CancelRequest,
    "job-final": JobFinal,
    "alias-move": AliasMove,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema (draft 2020-12) of every public record, by name."""
    return {name: record.model_json_schema() for name, record in PUBLIC_RECORDS.items()}
