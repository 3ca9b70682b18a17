"""The light client: submit images as jobs, read their probabilities; no ML framework."""

from fornada.errors import (
    BrokerError,
    FornadaError,
    InputError,
    JobConflictError,
    JobFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    ModelNotFoundError,
    PartlySubmittedError,
    StoreError,
    WaitTimeoutError,
)
from fornada.messages import JobState
from producer.backlog import Backlog
from producer.client import Client
from producer.inputs import ItemBlock
from producer.job import DeadShard, Job
from producer.job_status import JobStatus
from producer.references import StoredImages
from producer.results import Results, ShardResult
from producer.submission import Submission
from producer.verification import Difference, Verification

__all__ = [
    "Backlog",
    "BrokerError",
    "Client",
    "DeadShard",
    "Difference",
    "FornadaError",
    "InputError",
    "ItemBlock",
    "Job",
    "JobConflictError",
    "JobFailedError",
    "JobNotFinishedError",
    "JobNotFoundError",
    "JobState",
    "JobStatus",
    "ModelNotFoundError",
    "PartlySubmittedError",
    "Results",
    "ShardResult",
    "StoreError",
    "StoredImages",
    "Submission",
    "Verification",
    "WaitTimeoutError",
]
