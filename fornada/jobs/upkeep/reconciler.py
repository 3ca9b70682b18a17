"""Enqueue what Redis lost, and end what is over: a thread in every worker, one a queue leads."""

import heapq
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from fornada.coordination.interface import NEWEST_JOBS, Recovery, Triage
from fornada.errors import FornadaError, JobNotFoundError, MessageError, StoreError
from fornada.events import SILENT, Events, ShardsReenqueued
from fornada.jobs.ids import message_for
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.census import Census
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.held_up_jobs import HeldUpJobs
from fornada.jobs.upkeep.leadership import Leadership
from fornada.jobs.upkeep.looks import ROUNDS_PER_LOOK, Looks, OpenJob
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.missing_jobs import MissingJobs
from fornada.jobs.upkeep.renewals import Renewals
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender
from fornada.queue.message import ShardMessage
from fornada.repeated import Repeated
from fornada.settings import Settings
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys

log = get_logger(__name__)

#: Rounds between two censuses of the store, for jobs that Redis does not know.
_ROUNDS_PER_CENSUS = 600
#: While the queue is not empty, a message counts as lost after this many times as long.
_PATIENCE = 10
#: Small jobs that a round asks the store about, whether they are to be cancelled.
_MOST_CANCEL_LOOKS = 1000


class Reconciler:
    """Brings every open job of a queue to its end, whatever was lost on the way.

    Redis loses messages (when a worker dies between BRPOP and its record of it, when a server is
    full or wiped), and so does a producer that dies between manifest and queue. The store does
    not, so a shard without outcome, lease or queued message is enqueued again.

    A round asks Redis alone. The store is asked when Redis says that a job is over, after Redis
    has forgotten, and every `ROUNDS_PER_LOOK` rounds.

    Args:
        jobs: The store.
        manifests: Shared with whatever else the process does with jobs.
        recovery: Redis, for the queue that the settings name.
        sender: Where lost shards are enqueued.
        settings: The deployment's.
        holder: The name under which this process leads.
        deployment_keys: Sign the manifests that messages carry.
        check_bucket: Checks that Redis belongs to the bucket; asked when this process begins to
            lead, and after Redis has forgotten.
        events: Hears of shards enqueued again, and of jobs that ended.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        manifests: Manifests,
        recovery: Recovery,
        sender: Sender,
        settings: Settings,
        holder: str,
        deployment_keys: DeploymentKeys = NO_KEYS,
        check_bucket: Callable[[], object] = lambda: None,
        events: Events = SILENT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._recovery = recovery
        self._sender = sender
        self._settings = settings
        self._keys = deployment_keys
        self._check_bucket = check_bucket
        self._is_bucket_checked = False
        self._events = events
        self._monotonic = monotonic
        self._leadership = Leadership(
            recovery=recovery,
            queue=settings.queue,
            holder=holder,
            lead_s=max(5.0, 3 * settings.reconcile_interval_s),
            lease_s=settings.lease_s,
            events=events,
            monotonic=monotonic,
        )
        # So many that no step is cut while all is well.
        self._beats_per_round = math.ceil(6 * settings.reconcile_interval_s / settings.lease_s)
        self._beat_s = settings.reconcile_interval_s / self._beats_per_round
        self._renewals = Renewals(interval_s=self._beat_s)
        endings = Endings(
            jobs=jobs,
            open_jobs=recovery,
            # Not the host's own name: a shard of the host may be ending the same job.
            holder=f"{holder}-reconciler",
            lease_s=settings.lease_s,
            events=events,
        )
        self._looks = Looks(jobs=jobs, recovery=recovery, endings=endings, monotonic=monotonic)
        self._census = Census(jobs=jobs, manifests=manifests)
        self._held_up = HeldUpJobs(recovery=recovery, process=holder, events=events)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._rounds = 0
        self._open: dict[str, OpenJob] = {}
        #: Open jobs of other queues.
        self._others: set[str] = set()
        self._missing = MissingJobs(jobs=jobs, recovery=recovery, monotonic=monotonic)
        #: Small job with nothing wrong → for how many rounds.
        self._waited: dict[str, int] = {}

    def start(self) -> None:
        """Start the rounds in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current round."""
        self._stop.set()
        self._thread.join()
        self._leadership.end()

    @property
    def is_leading(self) -> bool:
        """Whether this process leads the queue."""
        return self._leadership.is_leading is True

    def round(self) -> None:
        """One round, if this reconciler leads."""
        if not self._leadership.leads():
            self._open.clear()
            return
        # Listing a large job's outcomes takes long; without a beat, a second leader would do the
        # same work beside this one, and no lease would run out.
        with self._renewals.renewed(self._leadership.leads, lease="reconciler"):
            self._reconcile_all()

    def _reconcile_all(self) -> None:
        open_jobs = self._open_jobs()
        self._open = {job_id: job for job_id, job in self._open.items() if job_id in open_jobs}
        self._held_up.begin_round(open_jobs)
        open_jobs -= self._missing.begin_round(open_jobs)
        queued = self._recovery.queue_length(self._settings.queue)
        triage = self._recovery.triage(sorted(open_jobs), patience_s=self._patience_s(queued))
        unclear = self._unclear(triage)
        unknown = (unclear | triage.lost.keys()) - self._open.keys()
        passed_over = unknown - self._missing.worth_a_look(unknown)
        unclear = unclear - passed_over | self._cancelled(
            open_jobs - triage.unclear - triage.others
        )
        room = max(0, self._settings.enqueue_window - queued)
        # Of thousands of lost small jobs, read no more than there is room for.
        small = sorted(triage.lost.keys() - passed_over)[:room]
        lost: dict[str, list[int]] = {}
        for job_id in sorted(unclear.union(small)):
            if self._stop.is_set():
                return
            if not self._held_up.may_look(job_id):
                continue
            known = None if job_id in unclear else triage.lost[job_id]
            try:
                lost[job_id] = self._reconcile(job_id, queued, known)
                if job_id in self._open:
                    self._open[job_id].seen.update(triage.seen.get(job_id, ()))
            except MemoryError:
                raise
            except Exception as exc:  # noqa: BLE001 - one job's broken objects must not hold up the others
                # Its manifest may be another one by now.
                self._open.pop(job_id, None)
                self._held_up.leave(job_id, exc)
        paced = self._held_up.paced(lost)
        waiting = [job_id for job_id in paced if paced[job_id]]
        traces = self._recovery.traces_of(waiting) if waiting and room else {}
        self._sender.enqueue(self._fairly(paced, room=room), traces=traces)

    def _unclear(self, triage: Triage) -> set[str]:
        """Jobs to look at, as Redis alone does not say enough of them."""
        unclear = set(triage.unclear)
        if self._rounds % _ROUNDS_PER_CENSUS:
            self._others |= triage.others
        else:
            # What Redis says of a job's queue may be anyone's word; its manifest is read instead.
            unclear |= triage.others
        return unclear

    def _patience_s(self, queued: int) -> float:
        """How long a message may wait before it counts as lost."""
        return self._settings.requeue_after_s * (_PATIENCE if queued else 1)

    def _cancelled(self, waiting: AbstractSet[str]) -> set[str]:
        """Small jobs with a request to cancel, which is looked for now and then."""
        self._waited = {job_id: self._waited.get(job_id, 0) + 1 for job_id in waiting}
        due = [job_id for job_id, n in self._waited.items() if n >= ROUNDS_PER_LOOK]
        # Those that waited longest.
        due = heapq.nlargest(_MOST_CANCEL_LOOKS, due, key=self._waited.__getitem__)
        self._waited |= dict.fromkeys(due, 0)
        asked = zip(due, in_parallel(self._may_be_cancelled, due), strict=True)
        return {job_id for job_id, may_be in asked if may_be}

    def _may_be_cancelled(self, job_id: str) -> bool:
        try:
            return self._jobs.cancel_request(job_id) is not None
        except (MessageError, StoreError):
            # Reconciled alone, the job says what is wrong with it.
            return True

    def _run(self) -> None:
        beats, repeated = 0, Repeated()
        while not self._stop.wait(self._beat_s):
            beats += 1
            try:
                if beats % self._beats_per_round:
                    self._leadership.leads()
                else:
                    self.round()
            except FornadaError as exc:
                repeated.log(log.warning, "reconciler round failed, trying again", error=str(exc))
            except MemoryError:
                raise
            except Exception as exc:  # noqa: BLE001 - the next round may go better
                what = type(exc).__name__
                repeated.log(log.exception, "reconciler round failed unexpectedly", about=what)

    def _open_jobs(self) -> set[str]:
        """Open jobs that are not known to be another queue's."""
        known = self._recovery.open_jobs()
        self._rounds += 1
        if known is None or not self._is_bucket_checked:
            self._is_bucket_checked = False
            self._check_bucket()
            self._is_bucket_checked = True
        if known is None:
            # The jobs' progress is lost too.
            self._open.clear()
        elif self._rounds % _ROUNDS_PER_CENSUS:
            self._others &= known
            return known - self._others
        self._others.clear()
        listed = self._recovery.newest_jobs(NEWEST_JOBS)
        self._census.take()
        self._missing.drop_unstored(listed, stored=self._census.job_ids)
        found = self._census.open_jobs
        self._recovery.rebuild_open_jobs(found, newest=self._census.newest_jobs)
        return found | (known or set())

    def _reconcile(self, job_id: str, queued: int, lost: Sequence[int] | None) -> list[int]:
        """End the job if it is over; otherwise return its lost shards, if there is room for any.

        `lost`: what Redis knows of these, where that is all there is to know.
        """
        job = self._open.get(job_id)
        if job is None:
            try:
                job = OpenJob(manifest=self._manifests.get(job_id))
            except JobNotFoundError:
                self._missing.miss([job_id])
                return []
            if job.manifest.queue_name != self._settings.queue:
                self._others.add(job_id)
                return []
            self._open[job_id] = job
            # A producer in another language lists it as open, and no more.
            self._recovery.rebuild_open_jobs([], newest={job_id: job.manifest.created_at})
        self._missing.found(job_id)
        if lost is not None and not job.was_lost:
            job.was_lost = True
            return list(lost)
        progress = self._recovery.progress(job_id)
        if self._looks.is_due(job, progress):
            if self._looks.look(job, progress):
                return []
            progress = self._recovery.progress(job_id)
        if queued >= self._settings.enqueue_window:
            return []
        patience_s = self._patience_s(queued)
        enqueued = {shard for shard, age_s in progress.enqueued.items() if age_s <= patience_s}
        by_another_clock = [shard for shard, age_s in progress.enqueued.items() if age_s < 0]
        if by_another_clock:
            # They wait from now on.
            self._recovery.mark_enqueued(job_id, by_another_clock)
        job.seen.update(progress.leased, progress.enqueued)
        shards = range(len(job.manifest.shards))
        return list(set(shards) - progress.done - progress.leased - enqueued)

    def _fairly(self, lost: Mapping[str, list[int]], *, room: int) -> Iterator[ShardMessage]:
        """Share the window's room evenly: a small job does not wait for a large one.

        Yields:
            Messages of shards that are marked as enqueued.
        """
        waiting = sorted((job_id for job_id in lost if lost[job_id]), key=lambda j: len(lost[j]))
        for position, job_id in enumerate(waiting):
            shards = sorted(lost[job_id])[: room // (len(waiting) - position)]
            if not shards:
                continue
            if not self._recovery.mark_enqueued(job_id, shards):
                # It ended since this round began.
                continue
            room -= len(shards)
            job = self._open[job_id]
            self._events.tell(
                ShardsReenqueued(
                    job_id=job_id,
                    shard_count=len(shards),
                    lost_count=len(job.seen.intersection(shards)),
                    waiting_count=len(lost[job_id]),
                )
            )
            job.seen.update(shards)
            for shard in shards:
                yield message_for(job.manifest, shard, deployment_keys=self._keys)
