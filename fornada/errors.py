"""Every error that Fornada raises on purpose.

A message states the fact first, with its values, then the remedy. Each class says whose fault it
is; exit code, HTTP status and whether trying again helps follow from that.
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

Fault = Literal["caller", "item", "model", "worker", "transient"]

_HTTP_STATUS: dict[Fault, int] = {
    "caller": 400,
    "item": 422,
    "model": 422,
    "worker": 500,
    "transient": 503,
}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: What TensorFlow adds to a fact: the functions and nodes where it was found.
_NODES = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:[^\]]*\]( name:)?")
_MOST_CHARACTERS = 300


class FornadaError(Exception):
    """Base of every error that Fornada raises on purpose.

    A class says whose fault it is, or inherits it; the rest follows, unless the class says
    otherwise.
    """

    #: What has to change: `caller` the call or a setting, `item` the data, `model` the model,
    #: `worker` the machine or process, `transient` nothing, since the error passes.
    fault: ClassVar[Fault] = "worker"
    #: Of the command line: 1 the work failed, 2 the call was wrong.
    exit_code: ClassVar[int] = 1
    #: The status for an HTTP API to answer with.
    http_status: ClassVar[int] = 500
    #: Whether the same call may succeed later with nothing changed.
    may_pass_later: ClassVar[bool] = False
    _public_text: str | None = None

    def __init_subclass__(
        cls,
        *,
        fault: Fault | None = None,
        exit_code: int | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init_subclass__()
        if fault is not None:
            cls.fault = fault
            cls.exit_code = 2 if fault == "caller" else 1
            cls.http_status = _HTTP_STATUS[fault]
            cls.may_pass_later = fault == "transient"
        cls.exit_code = exit_code or cls.exit_code
        cls.http_status = http_status or cls.http_status

    @property
    def public_text(self) -> str:
        """What a job's records and a gateway say of the error.

        It has neither the operator's addresses nor commands. Where one text serves the command
        line, Python and HTTP, it names an option as a parameter: `top_k`, not `--top-k`.
        """
        return str(self) if self._public_text is None else self._public_text

    def with_public_text(self, text: str) -> Self:
        """This error, of which a job's records and a gateway say `text`."""
        self._public_text = text
        return self


class ConfigError(FornadaError, ValueError, fault="caller"):
    """A `FORNADA_` setting is missing, wrong or unknown."""


class ForeignBucketError(ConfigError, fault="caller"):
    """Redis belongs to the jobs of another bucket."""


class MissingExtraError(FornadaError, ImportError, fault="caller"):
    """An optional package is needed and not installed."""


class UsageError(FornadaError, ValueError, fault="caller"):
    """The command or call is wrong."""


class CallTooLargeError(UsageError, fault="caller", http_status=413):
    """A call of `predict` has more bytes of items than a call may have."""


class MessageError(FornadaError, ValueError, fault="caller", exit_code=1, http_status=500):
    """Bytes are not a valid message, manifest or outcome."""


class LaterVersionError(MessageError, fault="caller", http_status=500):
    """A record is of a schema version that only later releases read."""


class InputError(FornadaError, ValueError, fault="item", exit_code=2):
    """The caller's images are wrong: shape, dtype, values, format or size."""


class DuplicateIdError(InputError, fault="item", exit_code=2):
    """Two items have the same id."""

    def __init__(self, message: str, *, items: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        #: The numbers of the items.
        self.items = items

    @classmethod
    def of(cls, items: tuple[int, int], *, item_id: str | None = None) -> Self:
        """The error of two items."""
        named = "" if item_id is None else f", {item_id[:80]!r}"
        first, second = items
        return cls(
            f"items {first} and {second} have the same id{named}; give each item an id of its own",
            items=items,
        )


class InputNotAllowedError(InputError, fault="item", exit_code=2, http_status=403):
    """A job names an object that it may not read."""


class PredictionErrors(InputError, fault="item"):  # noqa: N818 - of several items
    """Some items of a call of `predict` have no result; it has the rows of the others."""

    def __init__(
        self, message: str, *, outputs: object = None, errors: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(message)
        #: What `predict` returns with `errors="nan"`.
        self.outputs = outputs
        #: Number of an item that failed -> why.
        self.errors = dict(errors or {})


class DatasetUnavailableError(FornadaError, LookupError, fault="worker"):
    """A data set is not in the local cache and cannot be downloaded."""


class LocalDiskError(FornadaError, OSError, fault="worker"):
    """This machine's disk refused a write or a read."""


class BrokerError(FornadaError, ConnectionError, fault="transient"):
    """The message broker cannot be reached, or refuses us."""


class BacklogFullError(BrokerError, fault="transient", http_status=429):
    """Too many calls of `predict` wait for a worker; the same call may pass later."""


class AnswerNotTrustedError(FornadaError, fault="worker"):
    """A call of `predict`, or its answer, is not signed with a key that the other side has."""


class StoreError(FornadaError, fault="worker"):
    """Base of the object store's errors."""


class StoreUnavailableError(StoreError, ConnectionError, fault="transient"):
    """The object store cannot be reached, or fails for now."""


class StoreRefusedError(StoreError, fault="caller"):
    """The object store refuses the request, and would refuse it again."""


class StoreAccessError(StoreRefusedError, PermissionError, fault="caller"):
    """The object store refuses the credentials or the permission."""


class StoreCredentialsError(StoreAccessError, fault="caller"):
    """The credentials for the object store are missing, incomplete or expired."""


class StoreAddressError(StoreRefusedError, fault="caller"):
    """The endpoint is no S3 store, or its certificate, region or proxy is wrong."""


class StoreClockError(StoreRefusedError, fault="caller"):
    """This machine's clock differs too much from the object store's."""


class StoreQuotaError(StoreRefusedError, fault="caller"):
    """A quota of the object store is used up."""


class BucketNotFoundError(StoreRefusedError, LookupError, fault="caller"):
    """The bucket does not exist."""


class ObjectNameError(StoreRefusedError, fault="caller"):
    """The object's key is not one that the object store takes."""


class ObjectArchivedError(StoreRefusedError, fault="caller"):
    """The object is archived, or its encryption key cannot be used."""


class ObjectNotFoundError(StoreError, LookupError, fault="item", http_status=404):
    """The object does not exist."""


class IntegrityError(StoreError, fault="item"):
    """Stored bytes differ from the digest that was recorded for them."""


class ModelError(FornadaError, fault="model"):
    """Base of the model's errors."""


class ModelNotFoundError(ModelError, LookupError, fault="model", exit_code=2, http_status=404):
    """No model has this name, version or alias."""


class ModelRefusedError(ModelError, ValueError, fault="model"):
    """The artifact is not safe to load, or is not what its manifest says."""


class ModelUnusableError(ModelRefusedError, fault="model"):
    """No worker can load the model: it is damaged or forbidden, or gives other outputs."""


class ModelDeclinedError(ModelRefusedError, fault="worker"):
    """This worker may not or cannot load the model; another one may."""


class ModelWallError(ModelError, RuntimeError, fault="worker"):
    """A model takes more time or memory to load than a process may take here, or ends it."""


class GateNotMetError(ModelError, fault="model", http_status=409):
    """A metric is not good enough for the model to be promoted."""


class NotBetterError(ModelError, fault="model"):
    """A trained model is no better than the current one, and was not published."""


class PredictionError(ModelError, RuntimeError, fault="model"):
    """Predict failed, or answered with the wrong shape."""


class DeviceMemoryError(FornadaError, RuntimeError, fault="worker"):
    """A predict call does not fit into the memory of the GPU, and one of fewer rows may."""


class DeviceLostError(FornadaError, RuntimeError, fault="worker", http_status=503):
    """The GPU fails every call of this process; only another process can use it again."""


class StackError(FornadaError, RuntimeError, fault="worker"):
    """The embedded stack did not start."""


class JobError(FornadaError, fault="caller", exit_code=1):
    """Base of the job's errors."""


class JobNotFoundError(JobError, LookupError, fault="caller", http_status=404):
    """No job has this id."""


class JobConflictError(JobError, ValueError, fault="caller", http_status=409):
    """A job with this id exists, with other content."""


class JobRefusedError(JobError, ValueError, fault="caller", exit_code=1, http_status=422):
    """A job's manifest says something else of its items or results than the model's."""


class JobStateError(JobError, UsageError, fault="caller", http_status=409):
    """The job's state does not allow it: it is still open, or has ended."""


class PartlySubmittedError(JobError, fault="caller", exit_code=1):
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


class DriftUnknownError(JobError, fault="caller", exit_code=1, http_status=409):
    """What a job predicted is not known, or there is nothing to compare it with."""


class JobFailedError(JobError, fault="item", http_status=409):
    """The job ended FAILED, CANCELLED or EXPIRED."""


class JobNotFinishedError(JobError, fault="transient", http_status=409):
    """Full results were asked for before the job ended."""


class WaitTimeoutError(JobError, TimeoutError, fault="transient", http_status=504):
    """The job did not end within the time that the caller gave."""


def error_line(exc: BaseException) -> str:
    """What Keras said, as one line; it begins with the class of the layer at fault."""
    # Keras begins with a line that says nothing, and colours the ones that do.
    text = " ".join(_NODES.sub("", _COLOUR.sub("", str(exc))).split())
    said = text.removeprefix("Exception encountered when calling ")
    return said[:_MOST_CHARACTERS] or type(exc).__name__
