"""Shards from message to committed outcome: the job protocol, without Celery or an engine."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from fornada.coordination.interface import Claim, Leases
from fornada.errors import (
    DeviceLostError,
    FornadaError,
    JobRefusedError,
    MessageError,
    ModelDeclinedError,
    ModelError,
)
from fornada.events import SILENT, BundleSplit, Events
from fornada.formats.images import DecoderPool
from fornada.jobs.ids import trusted_manifest
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.renewals import Renewals
from fornada.logs import get_logger, shown
from fornada.parallel import in_parallel_if_slow
from fornada.queue.message import ShardMessage
from fornada.repeated import Repeated
from fornada.settings import Settings
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from worker.compute.model_cache import ModelCache
from worker.host.cpu_time import CpuTime
from worker.host.deadlines import Deadlines
from worker.shards.attempts import Attempts
from worker.shards.commits import Commits
from worker.shards.computation import Computation
from worker.shards.isolation import IsolatedProcess, ProcessDiedError
from worker.shards.phases import Begun, Computed, Found, ShardResult, bound_to
from worker.shards.steps import Settled, Steps

log = get_logger(__name__)

#: Attempts in a process of their own, after those that the job allows. If the worker dies during
#: these too, its items are not the cause, and the shard is dead.
_ISOLATED_ATTEMPTS = 2


class ShardService:
    """Runs shards. `run` always returns; the reconciler repeats what it did not commit."""

    def __init__(
        self,
        settings: Settings,
        *,
        worker: str,
        jobs: JobStore,
        manifests: Manifests,
        models: ModelCache,
        leases: Leases,
        endings: Endings,
        deadlines: Deadlines,
        isolate: Callable[[JobManifest, int], IsolatedProcess],
        deployment_keys: DeploymentKeys = NO_KEYS,
        events: Events = SILENT,
        decoders: DecoderPool | None = None,
        cpu_time: CpuTime | None = None,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._keys = deployment_keys
        self._models = models
        self._worker = worker
        self._leases = leases
        self._endings = endings
        self._lease_s = lease_s = settings.lease_s
        self._events = events
        self._repeated = Repeated()
        self._renewals = Renewals(interval_s=lease_s / 3)
        self._commits = Commits(jobs=jobs, leases=leases, endings=endings, events=events)
        self._attempts = Attempts(
            jobs=jobs,
            manifests=manifests,
            leases=leases,
            endings=endings,
            commits=self._commits,
            lease_s=lease_s,
        )
        self._computation = Computation(
            settings,
            worker=worker,
            jobs=jobs,
            models=models,
            deadlines=deadlines,
            isolate=isolate,
            events=events,
            decoders=decoders,
            cpu_time=cpu_time or CpuTime(),
        )

    def run(self, message: ShardMessage) -> ShardResult:
        """Run the shard.

        Raises:
            MemoryError: The device is out of memory, which only a restart cures.
        """
        return self.run_bundle([message])[0]

    def run_bundle(self, messages: Sequence[ShardMessage]) -> list[ShardResult]:
        """Run small shards as `run` does, and share the steps that can be shared.

        Redis is asked once for all of them, and those of one model are one call of its batcher.
        A shard that fails, or was begun before, continues alone.
        """
        runs = [Claim(m.job_id, m.shard, uuid.uuid4().hex) for m in messages]
        with bound_to(*runs):
            return self._run_all(messages, runs)

    def _run_all(
        self, messages: Sequence[ShardMessage], runs: Sequence[Claim]
    ) -> list[ShardResult]:
        steps = Steps(
            leases=self._leases, worker=self._worker, events=self._events, repeated=self._repeated
        )
        found = self._without_declined(self._find_all(messages, runs, steps), steps)
        attempts = self._attempts.begin_all(found, steps)
        with self._renewed(attempts, steps):
            computed = self._compute_all(attempts, steps)
            self._commits.commit_all(self._commits.commit_ends(computed, steps), steps)
        return [steps.result(run) for run in runs]

    def _find_all(
        self, messages: Sequence[ShardMessage], runs: Sequence[Claim], steps: Steps
    ) -> list[Found]:
        carried = [
            trusted_manifest(each, deployment_keys=self._keys, repeated=self._repeated)
            for each in messages
        ]
        # Anyone may name many jobs in a bundle that do not exist.
        named = {run.job_id for run, known in zip(runs, carried, strict=True) if known is None}
        wanted = sorted(named)
        read = dict(zip(wanted, in_parallel_if_slow(self._manifest_or_error, wanted), strict=True))
        found = []
        for run, known in zip(runs, carried, strict=True):
            with steps.attempt_step(run):
                manifest = known or read[run.job_id]
                if isinstance(manifest, Exception):
                    raise manifest
                if run.shard >= len(manifest.shards):
                    fact = f"the job has {len(manifest.shards)} shards, and none {run.shard}"
                    raise MessageError(fact)
                found.append(Found(run=run, manifest=manifest))
        return found

    def _manifest_or_error(self, job_id: str) -> JobManifest | Exception:
        try:
            return self._manifests.get(job_id)
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - raised in the step of the shard
            return exc

    def _without_declined(self, found: Sequence[Found], steps: Steps) -> list[Found]:
        """Give back shards of models that this process does not try to load now."""
        declined: dict[str, list[Claim]] = {}
        rest = []
        for each in found:
            why = self._models.why_declined(each.manifest.model)
            if why is None:
                rest.append(each)
            else:
                declined.setdefault(why, []).append(each.run)
        for why, runs in declined.items():
            steps.give_back(runs, why)
        return rest

    def _compute_all(self, attempts: Sequence[Begun], steps: Steps) -> list[Computed]:
        together: Sequence[ShardOutcome | None] = [None for _ in attempts]
        with steps.attempt_step(*(attempt.run for attempt in attempts)):
            together = self._compute_together(attempts) or together
        computed = []
        for attempt, outcome in zip(attempts, together, strict=True):
            if steps.is_settled(attempt.run):
                continue
            with steps.attempt_step(attempt.run):
                computed.append(
                    Computed(attempt=attempt, outcome=outcome or self._compute(attempt))
                )
        return computed

    def _compute_together(self, attempts: Sequence[Begun]) -> Sequence[ShardOutcome] | None:
        """Compute small shards of one model together, if that is possible."""
        models = {attempt.manifest.model for attempt in attempts}
        fit = all(attempt.number == 1 and attempt.manifest.is_small for attempt in attempts)
        if len(attempts) < 2 or len(models) != 1 or not fit:  # noqa: PLR2004 - two make a bundle
            return None
        try:
            return self._computation.run_together(attempts)
        except (MemoryError, DeviceLostError):
            raise
        except ModelDeclinedError:
            # Each says so again, without another try.
            return None
        except Exception as exc:  # noqa: BLE001 - computed alone, each shard says what is wrong with it
            self._events.tell(BundleSplit(shard_count=len(attempts), why=shown(exc)))
            return None

    def _compute(self, attempt: Begun) -> ShardOutcome:
        manifest = attempt.manifest
        if self._is_deadly(attempt):
            return self._computation.dead(attempt, "crash-loop", self._crash_detail(attempt))
        try:
            return self._computation.run(attempt)
        except ModelDeclinedError as exc:
            # It may be the isolated process that cannot load it.
            self._models.decline(manifest.model, exc)
            raise
        except ModelError as exc:
            # Every other shard would meet the same model.
            self._endings.end(
                manifest, "FAILED", f"model {manifest.model}: {self._public_text(exc)}"
            )
            raise Settled(ShardResult.FAILED) from exc
        except JobRefusedError as exc:
            self._endings.end(manifest, "FAILED", self._public_text(exc))
            raise Settled(ShardResult.FAILED) from exc
        except ProcessDiedError as exc:
            detail = f"{self._crash_detail(attempt)}; in a process of its own: {exc}"
            return self._computation.dead(attempt, "crash-loop", detail)
        except FornadaError as exc:
            # Items do not change; after any other error, another attempt may succeed.
            if exc.fault != "item":
                raise
            return self._computation.dead(attempt, "input", self._public_text(exc))

    def _public_text(self, exc: FornadaError) -> str:
        """What the job's records say of the error; the log has all of it."""
        if str(exc) != exc.public_text:
            self._repeated.log(log.warning, "error in full", about=str(exc), error=str(exc))
        return exc.public_text

    def _is_deadly(self, attempt: Begun) -> bool:
        """Whether workers died over the shard even while it was in a process of its own.

        Redis counts attempts, and anyone may have counted there, so the store has to know of them.
        """
        run = attempt.run
        return (
            attempt.number > attempt.manifest.max_attempts + _ISOLATED_ATTEMPTS
            and self._jobs.isolated_count(run.job_id, run.shard) >= _ISOLATED_ATTEMPTS
        )

    def _crash_detail(self, attempt: Begun) -> str:
        error = self._leases.last_error(attempt.run.job_id, attempt.run.shard)
        seen = f"the last error was {error}" if error else "its worker died each time"
        return f"begun {attempt.number - 1} times without an outcome; {seen}"

    def _renewed(self, attempts: Sequence[Begun], steps: Steps) -> AbstractContextManager[None]:
        """Renew the leases of shards that are not settled while the block runs."""

        def renew() -> None:
            # A lease that was released would be taken again.
            claims = [attempt.run for attempt in attempts if not steps.is_settled(attempt.run)]
            self._leases.renew(claims, lease_s=self._lease_s)

        return self._renewals.renewed(renew, lease="shards")
