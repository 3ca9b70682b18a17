"""Every error that Fornada raises on purpose, in one tree.

    FornadaError
    |- ConfigError                a FORNADA_ setting is missing, wrong or unknown
    |- MissingExtraError          an optional package is not installed
    |- UsageError                 the command or call was put together wrongly
    |- MessageError               bytes are not a message, manifest or outcome we can obey
    |- InputError                 the caller's images are wrong
    |- DatasetUnavailableError    a data set is neither cached nor to be downloaded
    |- LocalDiskError             this machine's disk refused a write or a read
    |- BrokerError                the message broker cannot be reached or refuses us
    |  `- BacklogFullError        more calls wait for a worker than are let in
    |- StoreError                 the object store
    |  |- StoreUnavailableError   not reachable, or failing for now
    |  |- StoreAccessError        credentials or permissions are refused
    |  |- BucketNotFoundError     the bucket does not exist
    |  |- ObjectNotFoundError     the object does not exist
    |  `- IntegrityError          stored bytes differ from their digest
    |- ModelError                 the model
    |  |- ModelNotFoundError      no such name, version or alias
    |  |- ModelRefusedError       the artifact is not safe, or not what its manifest says
    |  |- GateNotMetError         a metric is not good enough for the model to be promoted
    |  |- NotBetterError          a new model is no better than the one that is there
    |  `- PredictionError         predict failed or gave the wrong shape
    |- StackError                 the embedded stack did not start
    `- JobError                   the job
       |- JobNotFoundError
       |- JobConflictError        the same id with other content
       |- PartlySubmittedError    of several submissions some failed
       |- JobFailedError          the job ended, and not with SUCCEEDED
       |- JobNotFinishedError     full results were asked for too early
       `- WaitTimeoutError        it did not end within the caller's time

A message states the fact first, with its values, then the remedy. `exit_code` is what the
command line ends with: 1 the work failed, 2 the call was wrong.
"""

import re
from collections.abc import Mapping, Sequence

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MOST_CHARACTERS = 300


class FornadaError(Exception):
    """Base of every error that Fornada raises on purpose."""

    exit_code = 1
    #: The same call may succeed later without anybody changing anything.
    retryable = False


class ConfigError(FornadaError, ValueError):
    """A `FORNADA_` setting is missing, wrong or unknown."""

    exit_code = 2


class MissingExtraError(FornadaError, ImportError):
    """An optional package is needed and not installed."""

    exit_code = 2


class UsageError(FornadaError, ValueError):
    """The command or call was put together wrongly."""

    exit_code = 2


class MessageError(FornadaError, ValueError):
    """Bytes are not a message, manifest or outcome that can be obeyed."""


class InputError(FornadaError, ValueError):
    """The caller's images are wrong: shape, dtype, values, format or size."""

    exit_code = 2


class DatasetUnavailableError(FornadaError, LookupError):
    """A data set is neither in the local cache nor to be downloaded."""


class LocalDiskError(FornadaError, OSError):
    """This machine's disk refused a write or a read."""


class BrokerError(FornadaError, ConnectionError):
    """The message broker cannot be reached, or refuses us."""

    retryable = True


class BacklogFullError(BrokerError):
    """More calls of `predict` wait for a worker than are let in; the same call may pass later."""


class StoreError(FornadaError):
    """Base of the object store's errors."""


class StoreUnavailableError(StoreError, ConnectionError):
    """The object store cannot be reached, or fails for now."""

    retryable = True


class StoreAccessError(StoreError, PermissionError):
    """The object store refuses the credentials or the permission."""

    exit_code = 2


class BucketNotFoundError(StoreError, LookupError):
    """The bucket does not exist."""

    exit_code = 2


class ObjectNotFoundError(StoreError, LookupError):
    """The object does not exist."""


class IntegrityError(StoreError):
    """Stored bytes differ from the digest that was recorded for them."""


class ModelError(FornadaError):
    """Base of the model's errors."""


class ModelNotFoundError(ModelError, LookupError):
    """No model has this name, version or alias."""

    exit_code = 2


class ModelRefusedError(ModelError, ValueError):
    """The artifact is not safe to load, or is not what its manifest says."""


class GateNotMetError(ModelError):
    """A metric is not good enough for the model to be promoted."""


class NotBetterError(ModelError):
    """A model that was trained is no better than the one that is there, and was not published."""


class PredictionError(ModelError, RuntimeError):
    """Predict failed, or answered with the wrong shape."""


class StackError(FornadaError, RuntimeError):
    """The embedded stack did not start."""


class JobError(FornadaError):
    """Base of the job's errors."""


class JobNotFoundError(JobError, LookupError):
    """No job has this id."""

    exit_code = 2


class JobConflictError(JobError, ValueError):
    """A job with this id exists, with other content."""

    exit_code = 2


class PartlySubmittedError(JobError):
    """Of several submissions some failed; it has the jobs of the others."""

    def __init__(
        self,
        message: str,
        *,
        jobs: Sequence[object] = (),
        errors: Mapping[int, FornadaError] | None = None,
    ) -> None:
        super().__init__(message)
        #: A `producer.Job` for each submission, in order; `None` where it failed.
        self.jobs = list(jobs)
        #: Number of a submission -> why it failed.
        self.errors = dict(errors or {})


class JobFailedError(JobError):
    """The job ended FAILED, CANCELLED or EXPIRED."""


class JobNotFinishedError(JobError):
    """Full results were asked for before the job ended."""


class WaitTimeoutError(JobError, TimeoutError):
    """The job did not end within the time that the caller gave."""


def error_line(exc: BaseException) -> str:
    """What Keras said, as one line; it begins with the class of the layer at fault."""
    # Keras begins with a line that says nothing, and colours the ones that do.
    text = " ".join(_COLOUR.sub("", str(exc)).split())
    said = text.removeprefix("Exception encountered when calling ")
    return said[:_MOST_CHARACTERS] or type(exc).__name__
