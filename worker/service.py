"""One shard from message to committed outcome: the job protocol, without Celery or an engine."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager

from fornada.coordination import Coordination
from fornada.errors import (
    FornadaError,
    InputError,
    IntegrityError,
    JobNotFoundError,
    MessageError,
    ModelError,
    ObjectNotFoundError,
)
from fornada.job_manifest import JobManifest
from fornada.job_store import JobStore
from fornada.logs import get_logger
from fornada.messages import ShardMessage, ShardOutcome, now
from worker.computation import Attempt, Computation
from worker.deadlines import Deadlines
from worker.ending import Ending, renewed
from worker.isolation import IsolatedProcess, ProcessDiedError
from worker.manifests import Manifests
from worker.model_cache import ModelCache

log = get_logger(__name__)

#: Attempts in a process of its own, after those that a job allows, before a shard is dead: what
#: ends this one's worker is then not its items.
_ISOLATED_ATTEMPTS = 2
#: The shard itself is at fault, and trying again will not help.
_INPUT_FAULTS = (InputError, IntegrityError, ObjectNotFoundError)


class ShardService:
    """Runs shards. Whatever happens, `run` returns, and what it did not commit may be redone."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        manifests: Manifests,
        models: ModelCache,
        coordination: Coordination,
        deadlines: Deadlines,
        isolate: Callable[[str, int], IsolatedProcess],
        worker: str,
        lease_s: float,
        shard_deadline_s: float,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._coordination = coordination
        self._lease_s = lease_s
        self._ending = Ending(jobs=jobs, coordination=coordination, worker=worker, lease_s=lease_s)
        self._computation = Computation(
            jobs=jobs,
            models=models,
            deadlines=deadlines,
            isolate=isolate,
            worker=worker,
            shard_deadline_s=shard_deadline_s,
        )

    def run(self, message: ShardMessage) -> str:
        """Run the shard; return what came of it, for the log.

        `ok`, `dead`: an outcome was committed. `ended`, `done`, `leased`: there was nothing to
        do. `expired`, `failed`: the job was ended. `deferred`: left to the reconciler.

        Raises:
            MemoryError: The device has no memory left; the process is of no more use.
        """
        job_id, shard, attempt = message.job_id, message.shard, uuid.uuid4().hex
        try:
            manifest = self._manifests.get(job_id)
            if shard >= len(manifest.shards):
                log.error("no such shard", job_id=job_id, shard=shard, of=len(manifest.shards))
                return "ended"
            return self._run_attempt(manifest, shard, attempt)
        except (JobNotFoundError, MessageError) as exc:
            log.error("message dropped", job_id=job_id, shard=shard, error=str(exc))  # noqa: TRY400 - ours to explain, a stack says no more
            return "ended"
        except (FornadaError, OSError) as exc:
            # Nobody's fault that trying later would not mend: a store or disk that fails for now.
            return self._defer(job_id, shard, attempt, exc, counted=False)
        except MemoryError:
            raise
        except Exception as exc:
            log.exception("shard failed unexpectedly", job_id=job_id, shard=shard)
            return self._defer(job_id, shard, attempt, exc, counted=True)

    def _run_attempt(self, manifest: JobManifest, shard: int, attempt_id: str) -> str:
        job_id = manifest.job_id
        begun = self._coordination.begin(job_id, shard, attempt_id, lease_s=self._lease_s)
        if begun.status != "begun":
            return begun.status
        if manifest.deadline is not None and begun.at > manifest.deadline:
            self._ending.end(manifest, "EXPIRED", f"the deadline {manifest.deadline:%FT%TZ} passed")
            return "expired"
        attempt = Attempt(
            manifest=manifest,
            shard=shard,
            id=attempt_id,
            number=begun.attempts,
            began_at=now(),
        )
        if attempt.number > 1:
            # The attempt before may have died between its commit and telling Redis.
            held = self._jobs.outcome(job_id, shard)
            if held is not None:
                self._mark_done(manifest, held)
                return "done"
        if attempt.number > manifest.max_attempts + _ISOLATED_ATTEMPTS:
            detail = self._crash_detail(job_id, shard, begun.attempts - 1)
            return self._commit(manifest, self._computation.dead(attempt, "crash-loop", detail))
        with self._renewed(job_id, shard, attempt_id):
            try:
                outcome = self._computation.run(attempt)
            except _INPUT_FAULTS as exc:
                outcome = self._computation.dead(attempt, "input", str(exc))
            except ProcessDiedError as exc:
                detail = self._crash_detail(job_id, shard, begun.attempts - 1)
                detail = f"{detail}; in a process of its own: {exc}"
                outcome = self._computation.dead(attempt, "crash-loop", detail)
            except ModelError as exc:
                # Every other shard would meet the same model.
                self._ending.end(manifest, "FAILED", f"model {manifest.model}: {exc}")
                return "failed"
            return self._commit(manifest, outcome)

    def _commit(self, manifest: JobManifest, outcome: ShardOutcome) -> str:
        held = self._jobs.commit(outcome)
        log.info(
            "shard finished",
            job_id=manifest.job_id,
            shard=outcome.shard,
            status=held.status,
            items=held.item_count,
            predict_s=round(held.predict_s, 4),
        )
        self._mark_done(manifest, held)
        return held.status

    def _mark_done(self, manifest: JobManifest, held: ShardOutcome) -> None:
        """Tell Redis of the outcome, and end the job with its last one."""
        done_count = self._coordination.mark_done(
            manifest.job_id,
            held.shard,
            dead=held.status == "dead",
            item_errors=len(held.item_errors),
        )
        if done_count >= len(manifest.shards):
            self._ending.end_if_complete(manifest)

    def _defer(
        self, job_id: str, shard: int, attempt: str, exc: Exception, *, counted: bool
    ) -> str:
        # The lease is kept and runs out: that is the delay before the shard is tried again.
        log.warning("shard deferred", job_id=job_id, shard=shard, error=str(exc))
        try:
            if counted:
                error = f"{type(exc).__name__}: {exc}"
                self._coordination.note_failure(job_id, shard, error)
            else:
                self._coordination.forget_attempt(job_id, shard, attempt)
        except FornadaError as redis_error:
            log.warning("attempt not recorded", job_id=job_id, error=str(redis_error))
        return "deferred"

    def _crash_detail(self, job_id: str, shard: int, attempts: int) -> str:
        error = self._coordination.last_error(job_id, shard)
        seen = f"the last error was {error}" if error else "its worker died each time"
        return f"begun {attempts} times without an outcome; {seen}"

    def _renewed(self, job_id: str, shard: int, attempt: str) -> AbstractContextManager[None]:
        """Renew the lease while the block runs."""
        return renewed(
            lambda: self._coordination.renew(job_id, shard, attempt, lease_s=self._lease_s),
            interval_s=self._lease_s / 3,
            name=f"lease-{shard}",
        )
