"""Commit outcomes, record them in Redis, and end the jobs that they complete."""

import itertools
import time
from collections import deque
from collections.abc import Sequence

from fornada.coordination.interface import Leases, ShardEnd
from fornada.errors import StoreUnavailableError
from fornada.events import ClassesPredicted, Events, ShardFinished, Stage, StageEnded
from fornada.figures.predictions import class_names
from fornada.jobs.ids import is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import UNKNOWN, Endings
from fornada.records import now
from worker.shards.phases import Committed, Computed, ShardResult, bound_to
from worker.shards.steps import Steps


class Commits:
    """Turns computed shards into committed ones."""

    def __init__(self, *, jobs: JobStore, leases: Leases, endings: Endings, events: Events) -> None:
        self._jobs = jobs
        self._leases = leases
        self._endings = endings
        self._events = events

    def commit_ends(self, computed: Sequence[Computed], steps: Steps) -> list[Computed]:
        """Commit outcomes that are all of their jobs as the jobs' ends; return the other ones."""
        whole = [each for each in computed if each.is_all_of_its_job]
        if not whole:
            return list(computed)
        began_s = time.monotonic()
        states, error = self._endings.commit_all([(e.attempt.manifest, e.outcome) for e in whole])
        ended = [each for each in whole if each.outcome.job_id in states]
        self._tell_finished(ended, began_s=began_s, ends_jobs=True)
        settled = set()
        for each in whole:
            run = each.attempt.run
            state = states.get(run.job_id)
            if state is not None:
                ok = state not in {"CANCELLED", "EXPIRED", UNKNOWN}
                steps.settle(run, ShardResult.OK if ok else ShardResult.ENDED)
            elif error is not None:
                steps.leave([run], error)
            else:
                continue
            settled.add(run.attempt)
        return [each for each in computed if each.attempt.run.attempt not in settled]

    def commit_all(self, computed: Sequence[Computed], steps: Steps) -> None:
        """Commit outcomes, tell Redis, and end the jobs whose last outcomes these are."""
        committed = []
        waiting = deque(computed)
        while waiting:
            each = waiting.popleft()
            with steps.attempt_step(each.attempt.run):
                try:
                    committed.append(self._commit(each))
                except StoreUnavailableError as exc:
                    # Each further try can take a minute.
                    while waiting:
                        steps.defer(waiting.popleft().attempt.run, exc, counted=False)
                    raise
        for _, group in itertools.groupby(committed, key=lambda done: done.attempt.run.job_id):
            of_job = list(group)
            with steps.attempt_step(*[done.attempt.run for done in of_job]):
                self.mark_done(of_job)
                for done in of_job:
                    steps.settle(done.attempt.run, ShardResult(done.outcome.status))

    def _commit(self, computed: Computed) -> Committed:
        attempt = computed.attempt
        if not is_generated_id(attempt.run.job_id):
            # Its manifest may be one that this process kept, and the job purged: an outcome that
            # stayed would count in a later job of the same id.
            self._jobs.require(attempt.run.job_id)
        began_s = time.monotonic()
        # Others of its bundle were committed since this one was computed.
        stamped = computed.outcome.model_copy(update={"committed_at": now()})
        committed = Committed(
            attempt=attempt,
            outcome=self._jobs.commit(stamped, no_other_writer=attempt.has_no_other_writer),
        )
        self._tell_finished([committed], began_s=began_s, ends_jobs=False)
        return committed

    def mark_done(self, committed: Sequence[Committed]) -> None:
        """Tell Redis of outcomes of one job, and end it with the last one."""
        manifest = committed[0].attempt.manifest
        ends = [
            ShardEnd(
                each.outcome.shard, each.outcome.status == "dead", len(each.outcome.item_errors)
            )
            for each in committed
        ]
        done_count = self._leases.mark_done(manifest.job_id, ends)
        if done_count >= len(manifest.shards):
            self._endings.end_if_complete(manifest)

    def _tell_finished(
        self, finished: Sequence[Computed | Committed], *, began_s: float, ends_jobs: bool
    ) -> None:
        commit_s = time.monotonic() - began_s
        self._events.tell(
            StageEnded(
                stage=Stage.COMMIT,
                duration_s=commit_s,
                shard_count=len(finished),
                item_count=sum(each.outcome.item_count for each in finished),
            )
        )
        for each in finished:
            if each.outcome.attempt != each.attempt.run.attempt:
                # Another attempt came first, and told of it.
                continue
            with bound_to(each.attempt.run):
                self._tell_outcome(
                    each.outcome, each.attempt.manifest, commit_s=commit_s, ends_job=ends_jobs
                )

    def _tell_outcome(
        self, outcome: ShardOutcome, manifest: JobManifest, *, commit_s: float, ends_job: bool
    ) -> None:
        waits_here = not (manifest.is_small or outcome.isolated)
        self._events.tell(
            ShardFinished(
                job_id=outcome.job_id,
                shard=outcome.shard,
                attempt=outcome.attempt,
                model=manifest.model,
                status=outcome.status,
                item_count=outcome.item_count,
                failed_count=len(outcome.item_errors),
                predict_s=outcome.predict_s,
                tile_items=outcome.tile_items,
                store_s=outcome.fetch_s + outcome.upload_s + commit_s if waits_here else None,
                cpu_s=outcome.figures.cpu_s if outcome.figures else None,
                bytes_in=outcome.figures.bytes_in if outcome.figures else 0,
                ends_job=ends_job,
            )
        )
        if outcome.figures is None:
            return
        for output in manifest.gives:
            found = outcome.figures.predicted.get(output.name)
            if found is not None and found.fits(output):
                self._events.tell(
                    ClassesPredicted(
                        model=manifest.model,
                        output=output.name,
                        classes=class_names(output) if found.classes else (),
                        class_counts=found.classes or (),
                        confidence_counts=found.confidence,
                        confidence_sum=found.confidence_sum,
                    )
                )
