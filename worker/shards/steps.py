"""Messages on their way through the protocol, and what is done about a step that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fornada.coordination.interface import Claim, Leases
from fornada.errors import FornadaError, JobNotFoundError, MessageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.logs import get_logger
from fornada.queue.message import ShardMessage
from worker.shards.attempt import Attempt

log = get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class Run:
    """One message, and what is known of it so far."""

    message: ShardMessage
    attempt_id: str
    #: It came with the message, and the job's id vouches for it.
    carried: JobManifest | None
    manifest: JobManifest = field(init=False)
    attempt: Attempt = field(init=False)
    #: What came of computing it together with others.
    together: ShardOutcome | None = None
    #: What is to be committed.
    computed: ShardOutcome = field(init=False)
    #: What the shard has now.
    outcome: ShardOutcome = field(init=False)
    #: What came of it; nothing while it goes on.
    result: str | None = None

    @property
    def claim(self) -> Claim:
        """The attempt, as Redis knows it."""
        return Claim(self.message.job_id, self.message.shard, self.attempt_id)

    @property
    def is_all_of_its_job(self) -> bool:
        """Whether what was computed is all that can come of the job, and so its end."""
        only = self.manifest.can_end_with_its_outcome
        return only and self.attempt.is_alone and self.computed.status == "ok"


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """Those that nothing has come of yet."""
    return [run for run in runs if run.result is None]


class Steps:
    """Takes runs from step to step, so that no exception leaves the task."""

    def __init__(self, *, leases: Leases) -> None:
        self._leases = leases

    def take(self, run: Run, step: Callable[[Run], None]) -> Exception | None:
        """Take the run a step further, or let it end with what went wrong, which is returned.

        Raises:
            MemoryError: The device has no memory left; the process is of no more use.
        """
        job_id, shard = run.message.job_id, run.message.shard
        try:
            step(run)
        except (JobNotFoundError, MessageError) as exc:
            log.error("message dropped", job_id=job_id, shard=shard, error=str(exc))  # noqa: TRY400 - ours to explain, a stack says no more
            run.result = "ended"
            return exc
        except (FornadaError, OSError) as exc:
            # Nobody's fault that trying later would not mend: a store or disk that fails for now.
            self.defer(run, exc, counted=False)
            return exc
        except MemoryError:
            raise
        except Exception as exc:
            log.exception("shard failed unexpectedly", job_id=job_id, shard=shard)
            self.defer(run, exc, counted=True)
            return exc
        return None

    def defer(self, run: Run, exc: Exception, *, counted: bool) -> None:
        """Leave the shard to the reconciler; `counted`: this was an attempt at it."""
        # The lease is kept and runs out: that is the delay before the shard is tried again.
        job_id, shard = run.message.job_id, run.message.shard
        run.result = "deferred"
        log.warning("shard deferred", job_id=job_id, shard=shard, error=str(exc))
        try:
            if counted:
                self._leases.note_failure(run.claim, f"{type(exc).__name__}: {exc}")
            else:
                self._leases.forget_attempt(run.claim)
        except FornadaError as redis_error:
            log.warning("attempt not recorded", job_id=job_id, error=str(redis_error))
