"""The client: submit images as jobs and read their probabilities; needs no ML framework."""

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
    PredictionErrors,
    StoreError,
    WaitTimeoutError,
)
from fornada.figures.drift import Drift
from fornada.figures.shown import Figures
from fornada.formats.rows import Rows
from fornada.jobs.outcome import JobState
from producer.asynchronous.client import AsyncClient
from producer.asynchronous.job import AsyncJob
from producer.calls.outputs import Prediction
from producer.client import Client
from producer.inputs.interface import ImageFile, ItemBlock, LocalFiles, Selection, StoredImages
from producer.item_results import OutputResults, Outputs, ShardResult
from producer.job import Job
from producer.job_reader import DeadShard, FailedItem
from producer.job_status import JobStatus
from producer.results import Results
from producer.submitting.submission import Submission
from producer.upkeep.backlog import Backlog
from producer.upkeep.verification import Difference, Verification

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Backlog",
    "BrokerError",
    "Client",
    "DeadShard",
    "Difference",
    "Drift",
    "FailedItem",
    "Figures",
    "FornadaError",
    "ImageFile",
    "InputError",
    "ItemBlock",
    "Job",
    "JobConflictError",
    "JobFailedError",
    "JobNotFinishedError",
    "JobNotFoundError",
    "JobState",
    "JobStatus",
    "LocalFiles",
    "ModelNotFoundError",
    "OutputResults",
    "Outputs",
    "PartlySubmittedError",
    "Prediction",
    "PredictionErrors",
    "Results",
    "Rows",
    "Selection",
    "ShardResult",
    "StoreError",
    "StoredImages",
    "Submission",
    "Verification",
    "WaitTimeoutError",
]
