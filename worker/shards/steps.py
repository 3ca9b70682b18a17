"""Guards the steps of a bundle's shards, so that a failure ends no more than its own shard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fornada.coordination.interface import Claim, Leases
from fornada.errors import (
    DeviceLostError,
    FornadaError,
    JobNotFoundError,
    MessageError,
    ModelDeclinedError,
    StoreError,
)
from fornada.events import Events, MessageDropped, ShardDeferred
from fornada.logs import get_logger, shown
from fornada.repeated import Repeated
from worker.shards.phases import ShardResult, bound_to

log = get_logger(__name__)


class Settled(Exception):  # noqa: N818 - no error: the shard needs no further step
    """Raised in a step that settles its shard."""

    def __init__(self, result: ShardResult) -> None:
        super().__init__(result)
        self.result = result


class Steps:
    """The results of one bundle."""

    def __init__(self, *, leases: Leases, worker: str, events: Events, repeated: Repeated) -> None:
        self._leases = leases
        self._repeated = repeated
        self._worker = worker
        self._events = events
        self._results: dict[str, ShardResult] = {}

    def result(self, run: Claim) -> ShardResult:
        """The shard's result."""
        return self._results[run.attempt]

    def is_settled(self, run: Claim) -> bool:
        """Whether the shard has a result."""
        return run.attempt in self._results

    def settle(self, run: Claim, result: ShardResult) -> None:
        """Record the shard's result."""
        self._results[run.attempt] = result

    @contextmanager
    def attempt_step(self, *runs: Claim) -> Iterator[None]:
        """Settle the shards with whatever the block raises.

        Raises:
            MemoryError: The device is out of memory, which only a restart cures.
        """
        try:
            with bound_to(*runs):
                yield
        except Settled as settled:
            for run in runs:
                self.settle(run, settled.result)
        except (JobNotFoundError, MessageError) as exc:
            for run in runs:
                self.drop(run, exc)
        except (FornadaError, OSError) as exc:
            self.leave(runs, exc)
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - it is logged, and ends no more than its shard
            with bound_to(runs[0]):
                self._repeated.log(
                    log.exception,
                    "shard failed unexpectedly",
                    about=(runs[0].job_id, type(exc).__name__),
                )
            for run in runs:
                self.defer(run, exc, counted=True)

    def leave(self, runs: Sequence[Claim], exc: FornadaError | OSError) -> None:
        """Leave shards to the reconciler."""
        if isinstance(exc, FornadaError) and _is_of_this_worker(exc):
            if isinstance(exc, StoreError):
                # Of a model that was declined, the log has the text already.
                text = str(exc)
                self._repeated.log(log.warning, "shards given back", about=text, error=text)
            self.give_back(runs, exc.public_text)
            return
        # The store, Redis or the disk fails for now, which is no fault of the shard. The loss of a
        # GPU may be.
        for run in runs:
            self.defer(run, exc, counted=isinstance(exc, DeviceLostError))

    def drop(self, run: Claim, exc: FornadaError) -> None:
        """Settle a shard that does not exist."""
        self.settle(run, ShardResult.ENDED)
        more_count = self._repeated.meet("message dropped", type(exc).__name__)
        with bound_to(run):
            self._events.tell(
                MessageDropped(
                    error=str(exc),
                    job_id=run.job_id,
                    shard=run.shard,
                    count=None if more_count is None else more_count + 1,
                )
            )

    def give_back(self, runs: Sequence[Claim], why: str) -> None:
        """Leave shards to other workers; this one says why it cannot go on with their jobs."""
        for run in runs:
            self.settle(run, ShardResult.GIVEN_BACK)
        try:
            self._leases.give_back(runs, process=self._worker, why=why)
        except FornadaError as redis_error:
            with bound_to(*runs):
                log.warning("shards not given back", error=str(redis_error))

    def defer(self, run: Claim, exc: Exception, *, counted: bool) -> None:
        """Leave the shard to the reconciler; `counted` if this was an attempt at it."""
        # The lease is kept: the shard is tried again when it runs out.
        self.settle(run, ShardResult.DEFERRED)
        more_count = self._repeated.meet("shard deferred", run.job_id, type(exc).__name__)
        with bound_to(run):
            self._events.tell(
                ShardDeferred(
                    job_id=run.job_id,
                    shard=run.shard,
                    error=shown(exc),
                    counted=counted,
                    count=None if more_count is None else more_count + 1,
                )
            )
            try:
                if counted:
                    self._leases.note_failure(run, f"{type(exc).__name__}: {exc}")
                else:
                    self._leases.forget_attempt(run)
            except FornadaError as redis_error:
                log.warning("attempt not recorded", error=str(redis_error))


def _is_of_this_worker(exc: Exception) -> bool:
    """Whether trying again here is of no use, and the shard is not at fault."""
    if isinstance(exc, StoreError):
        # The store refuses this worker, for good: what an operator has to mend.
        return exc.fault not in {"item", "transient"}
    return isinstance(exc, ModelDeclinedError)
