"""Shards from message to committed outcome: the job protocol, without Celery or an engine."""

import functools
import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from fornada.coordination.interface import Admission, Leases, ShardEnd
from fornada.errors import (
    FornadaError,
    JobNotFoundError,
    ModelError,
    StoreUnavailableError,
)
from fornada.jobs.endings import Endings
from fornada.jobs.ids import is_generated_id, trusted_manifest
from fornada.jobs.manifest_cache import Manifests
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.renewals import Renewals
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.queue.message import ShardMessage
from fornada.records import now
from worker.compute.model_cache import ModelCache
from worker.host.deadlines import Deadlines
from worker.shards.attempt import Attempt
from worker.shards.computation import Computation
from worker.shards.isolation import IsolatedProcess, ProcessDiedError
from worker.shards.steps import Run, Steps, unfinished

log = get_logger(__name__)

#: Attempts in a process of its own, after those that a job allows, before a shard is dead: what
#: ends this one's worker is then not its items.
_ISOLATED_ATTEMPTS = 2


class ShardService:
    """Runs shards. Whatever happens, `run` returns, and what it did not commit may be redone."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        manifests: Manifests,
        models: ModelCache,
        leases: Leases,
        endings: Endings,
        deadlines: Deadlines,
        isolate: Callable[[str, int], IsolatedProcess],
        worker: str,
        lease_s: float,
        shard_deadline_s: float,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._leases = leases
        self._endings = endings
        self._lease_s = lease_s
        self._steps = Steps(leases=leases)
        self._renewals = Renewals(interval_s=lease_s / 3)
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
        return self.run_bundle([message])[0]

    def run_bundle(self, messages: Sequence[ShardMessage]) -> list[str]:
        """Run small shards, as `run` does each, with the steps that can be shared taken together.

        Redis is told of all of them at once, and those of one model are one call of its batcher.
        One that is at fault, or was begun before, goes its way by itself.
        """
        runs = [
            Run(message=m, attempt_id=uuid.uuid4().hex, carried=trusted_manifest(m))
            for m in messages
        ]
        for run in runs:
            self._steps.take(run, self._find)
        self._begin(unfinished(runs))
        with self._renewed(unfinished(runs)):
            self._compute_together(unfinished(runs))
            for run in unfinished(runs):
                self._steps.take(run, self._compute)
            self._commit_with_ends(unfinished(runs))
            self._commit_all(unfinished(runs))
        return [run.result or "deferred" for run in runs]

    def _find(self, run: Run) -> None:
        """Find the job's manifest."""
        run.manifest = run.carried or self._manifests.get(run.message.job_id)
        job_id, shard, of = run.message.job_id, run.message.shard, len(run.manifest.shards)
        if shard >= of:
            log.error("no such shard", job_id=job_id, shard=shard, of=of)
            run.result = "ended"

    def _begin(self, runs: Sequence[Run]) -> None:
        """Count the attempts and take the leases; see whether there is anything to do, then."""
        if not runs:
            return
        claims = [run.claim for run in runs]
        began_s = time.monotonic()
        try:
            begun = self._leases.begin(claims, lease_s=self._lease_s)
        except FornadaError as exc:
            for run in runs:
                self._steps.defer(run, exc, counted=False)
            return
        for run, its in zip(runs, begun, strict=True):
            self._steps.take(run, functools.partial(self._look, begun=its, began_s=began_s))

    def _look(self, run: Run, *, begun: Admission, began_s: float) -> None:
        """See whether there is anything to do, now that the lease is ours."""
        if begun.status != "begun":
            run.result = begun.status
            return
        job_id, shard = run.message.job_id, run.message.shard
        if not begun.counted and self._is_over(run):
            run.result = "ended"
            return
        manifest = run.manifest
        if manifest.deadline is not None and begun.at > manifest.deadline:
            self._endings.expire(manifest)
            run.result = "expired"
            return
        # A second submitter of one key may have had Redis count anew a job that was done.
        is_alone = begun.is_first and is_generated_id(job_id)
        run.attempt = Attempt(
            manifest=manifest,
            shard=shard,
            id=run.attempt_id,
            number=begun.attempts,
            began_at=now(),
            # Later, its lease may have run out while this process stood still.
            alone_until_s=began_s + self._lease_s if is_alone else 0.0,
        )
        if run.attempt.number > 1:
            # The attempt before may have died between its commit and telling Redis.
            held = self._jobs.outcome(job_id, shard)
            if held is not None:
                self._mark_done(run, outcomes=[held])
                run.result = "done"

    def _is_over(self, run: Run) -> bool:
        """Whether the store says so of a job that Redis forgot, or never knew.

        Raises:
            JobNotFoundError: There is none.
        """
        job_id = run.message.job_id
        try:
            # What came along says nothing of whether it was ever stored.
            run.manifest = self._manifests.get(job_id)
        except JobNotFoundError:
            # What was noted of it just now would be kept for a month.
            self._endings.forget(job_id, "unknown")
            raise
        # Of other jobs each shard's outcome tells, and costs no more to look for.
        final = self._jobs.final(job_id) if run.manifest.can_end_with_its_outcome else None
        if final is not None:
            self._endings.forget(job_id, final.state)
        return final is not None

    def _compute_together(self, runs: Sequence[Run]) -> None:
        """Compute what may go together; what does not come of it is computed by itself."""
        attempts = [run.attempt for run in runs]
        models = {attempt.manifest.model for attempt in attempts}
        fit = all(attempt.number == 1 and attempt.manifest.is_small for attempt in attempts)
        if len(attempts) == 1 or len(models) != 1 or not fit:
            return
        try:
            outcomes = self._computation.run_together(attempts)
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - each by itself will say what is wrong with it
            log.info("bundle taken apart", shards=len(runs), why=str(exc))
            return
        for run, outcome in zip(runs, outcomes, strict=True):
            run.together = outcome

    def _compute(self, run: Run) -> None:
        """Compute the shard, unless that was done together with others."""
        manifest = run.manifest
        try:
            run.computed = run.together or self._computed(run.attempt)
        except ModelError as exc:
            # Every other shard would meet the same model.
            self._endings.end(manifest, "FAILED", f"model {manifest.model}: {exc}")
            run.result = "failed"

    def _computed(self, attempt: Attempt) -> ShardOutcome:
        job_id, shard = attempt.manifest.job_id, attempt.shard
        if attempt.number > attempt.manifest.max_attempts + _ISOLATED_ATTEMPTS:
            detail = self._crash_detail(job_id, shard, attempt.number - 1)
            return self._computation.dead(attempt, "crash-loop", detail)
        try:
            return self._computation.run(attempt)
        except ProcessDiedError as exc:
            detail = self._crash_detail(job_id, shard, attempt.number - 1)
            detail = f"{detail}; in a process of its own: {exc}"
            return self._computation.dead(attempt, "crash-loop", detail)
        except FornadaError as exc:
            # Trying again does not help an item; all else may go better another time.
            if exc.fault != "item":
                raise
            return self._computation.dead(attempt, "input", str(exc))

    def _commit_with_ends(self, runs: Sequence[Run]) -> None:
        """Commit what each is all that can come of its job, and so the job's end."""
        whole = [run for run in runs if run.is_all_of_its_job]
        if not whole:
            return
        states, error = self._endings.commit_all([(run.manifest, run.computed) for run in whole])
        for run in whole:
            state = states.get(run.message.job_id)
            if state is not None:
                run.result = "ok" if state == "SUCCEEDED" else "ended"
            elif error is not None:
                self._steps.defer(run, error, counted=False)

    def _commit_all(self, runs: Sequence[Run]) -> None:
        """Commit outcomes; tell Redis of them, and end jobs with their last ones."""
        away: StoreUnavailableError | None = None
        for run in runs:
            if away is None:
                error = self._steps.take(run, self._commit)
                away = error if isinstance(error, StoreUnavailableError) else None
            else:
                # Each try can take a minute.
                self._steps.defer(run, away, counted=False)
        committed = unfinished(runs)
        for _, of_job in itertools.groupby(committed, key=lambda run: run.message.job_id):
            first, *others = of_job
            outcomes = [run.outcome for run in (first, *others)]
            self._steps.take(first, functools.partial(self._mark_done, outcomes=outcomes))
            for run in others:
                run.result = first.result
        for run in unfinished(committed):
            run.result = run.outcome.status

    def _commit(self, run: Run) -> None:
        # Of a bundle, the others were committed since this was computed.
        computed = run.computed.model_copy(update={"committed_at": now()})
        run.outcome = self._jobs.commit(computed, no_other_writer=run.attempt.is_alone)
        log.info(
            "shard finished",
            job_id=run.message.job_id,
            shard=run.message.shard,
            status=run.outcome.status,
            items=run.outcome.item_count,
            predict_s=round(run.outcome.predict_s, 4),
        )

    def _mark_done(self, run: Run, *, outcomes: Sequence[ShardOutcome]) -> None:
        """Tell Redis of outcomes of the run's job, and end it with the last one."""
        done_count = self._leases.mark_done(
            run.manifest.job_id,
            [
                ShardEnd(outcome.shard, outcome.status == "dead", len(outcome.item_errors))
                for outcome in outcomes
            ],
        )
        if done_count >= len(run.manifest.shards):
            self._endings.end_if_complete(run.manifest)

    def _crash_detail(self, job_id: str, shard: int, attempts: int) -> str:
        error = self._leases.last_error(job_id, shard)
        seen = f"the last error was {error}" if error else "its worker died each time"
        return f"begun {attempts} times without an outcome; {seen}"

    def _renewed(self, runs: Sequence[Run]) -> AbstractContextManager[None]:
        """Renew the leases while the block runs."""
        claims = [run.claim for run in runs]
        return self._renewals.renewed(
            lambda: self._leases.renew(claims, lease_s=self._lease_s), lease="shards"
        )
