"""Reconcilers of every queue with open jobs, so that jobs end even where no worker runs."""

import random
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fornada.coordination.interface import Coordination
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.signed import SignedDecisions
from fornada.errors import FornadaError, JobNotFoundError, MessageError
from fornada.events import LOGGED, Events
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.backlog_watch import BacklogWatch, Host, WatchedHost
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.queue.celery_queue import CelerySender
from fornada.repeated import Repeated
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes

log = get_logger(__name__)

#: Time between two looks for queues.
_LOOK_EVERY_S = 15.0
#: Queues that a gateway hosts; callers cannot name any, but whoever writes manifests can.
_MOST_QUEUES = 64
#: Manifests that a look reads, of jobs that may be another queue's.
_MOST_READ = 256
#: A queue without open jobs for so many looks is hosted no more.
_IDLE_LOOKS = 40


@dataclass(kw_only=True)
class _Hosted:
    reconciler: Host
    idle_looks: int = 0


class HostedReconcilers:
    """Hosts the reconciler of its own queue, and of other queues while they have open jobs.

    As each worker does for its queue: one of all hosts leads, the others watch.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        manifests: Manifests,
        coordination: Coordination,
        reconciler_of: Callable[[str], Host],
    ) -> None:
        """Host reconcilers.

        Args:
            settings: The deployment's.
            manifests: Those of open jobs say in which queue they are.
            coordination: Redis, for the queue that the settings name.
            reconciler_of: Makes the reconciler of a queue.
        """
        self._own_queue = settings.queue
        self._manifests = manifests
        self._coordination = coordination
        self._reconciler_of = reconciler_of
        self._repeated = Repeated()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queues", daemon=True)
        self._hosted: dict[str, _Hosted] = {}
        #: Open job → its queue.
        self._queues: dict[str, str] = {}

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        objects: ObjectStore,
        manifests: Manifests,
        events: Events = LOGGED,
        counts_backlogs: bool = False,
    ) -> Self:
        """Hosts of the queues of the deployment that `settings` name."""
        deployment_keys = DeploymentKeys.from_settings(settings)
        own = RedisCoordination.from_settings(settings)
        jobs = JobStore(
            objects=objects,
            decisions=SignedDecisions(own, deployment_keys=deployment_keys),
            prefixes=InputPrefixes.from_settings(settings),
        )
        holder = f"gateway-{socket.gethostname()}-{secrets.token_hex(4)}"

        def reconciler_of(queue: str) -> Host:
            of_queue = settings.model_copy(update={"queue": queue})
            coordination = own
            if queue != settings.queue:
                coordination = RedisCoordination.from_settings(of_queue)
            sender = CelerySender.from_settings(of_queue)
            reconciler = Reconciler(
                jobs=jobs,
                manifests=manifests,
                recovery=coordination,
                sender=sender,
                settings=of_queue,
                holder=holder,
                deployment_keys=deployment_keys,
                check_bucket=BucketCheck.from_settings(
                    of_queue, objects=objects, coordination=coordination
                ).check,
                events=events,
            )
            if not counts_backlogs:
                return reconciler
            watch = BacklogWatch(
                queue=queue,
                is_leading=lambda: reconciler.is_leading,
                jobs=jobs,
                open_jobs=coordination,
                sender=sender,
                events=events,
            )
            return WatchedHost(reconciler, watch)

        return cls(settings, manifests=manifests, coordination=own, reconciler_of=reconciler_of)

    def start(self) -> None:
        """Start."""
        self._host(self._own_queue)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current rounds."""
        self._stop.set()
        self._thread.join()
        for hosted in self._hosted.values():
            hosted.reconciler.stop()

    @property
    def queues(self) -> set[str]:
        """The queues that are hosted now."""
        return set(self._hosted)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            pause_s = _LOOK_EVERY_S
            try:
                open_jobs = self._coordination.open_jobs()
                if open_jobs is None:
                    # The reconciler of our own queue restores the list from the store.
                    pause_s = 1.0
                else:
                    self._look(open_jobs)
            except FornadaError as exc:
                what = "queues with open jobs not found"
                self._repeated.log(log.warning, what, about=type(exc).__name__, error=str(exc))

    def _look(self, open_jobs: set[str]) -> None:
        """Host the queues that have open jobs, and no others for long."""
        self._queues = {j: queue for j, queue in self._queues.items() if j in open_jobs}
        unknown = sorted(open_jobs - self._queues.keys())
        # Small jobs of our own queue, of which there may be thousands, say so in Redis.
        triage = self._coordination.triage(unknown, patience_s=0)
        unclear = triage.others | triage.unclear
        self._queues |= dict.fromkeys(set(unknown) - unclear, self._own_queue)
        # Anyone may have listed jobs that do not exist, so not always the same are read.
        read = random.sample(sorted(unclear), min(_MOST_READ, len(unclear)))
        found = zip(read, in_parallel(self._queue_of, read), strict=True)
        self._queues |= {job_id: queue for job_id, queue in found if queue is not None}
        busy = set(self._queues.values())
        for queue in busy - self._hosted.keys():
            if len(self._hosted) < _MOST_QUEUES:
                self._host(queue)
        for queue in self._hosted.keys() - {self._own_queue}:
            hosted = self._hosted[queue]
            hosted.idle_looks = 0 if queue in busy else hosted.idle_looks + 1
            if hosted.idle_looks > _IDLE_LOOKS:
                del self._hosted[queue]
                hosted.reconciler.stop()

    def _host(self, queue: str) -> None:
        log.info("hosting a queue's reconciler", queue=queue)
        hosted = self._hosted[queue] = _Hosted(reconciler=self._reconciler_of(queue))
        hosted.reconciler.start()

    def _queue_of(self, job_id: str) -> str | None:
        try:
            return self._manifests.get(job_id).queue_name
        except (JobNotFoundError, MessageError):
            # It may be written a moment later.
            return None
