"""Manifests of the jobs that a process works on, each read and held once."""

import threading
from collections import OrderedDict

from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore

#: Most jobs held.
_KEPT_JOBS = 32
#: Most shards held, over all jobs; about 200 bytes each.
_KEPT_SHARDS = 1_000_000


class Manifests:
    """A cache of manifests that drops the least recently used. Safe to share between threads."""

    def __init__(self, *, jobs: JobStore) -> None:
        self._jobs = jobs
        self._kept: OrderedDict[str, JobManifest] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}

    def get(self, job_id: str) -> JobManifest:
        """The job's manifest.

        Raises:
            JobNotFoundError: No job has this id.
            MessageError: The object is not a manifest.
            StoreError: The store cannot be reached.
        """
        with self._lock:
            reading = self._reading.setdefault(job_id, threading.Lock())
        # If every thread read a large one, it would be in memory as many times.
        with reading:
            with self._lock:
                if job_id in self._kept:
                    self._kept.move_to_end(job_id)
                    return self._kept[job_id]
            try:
                manifest = self._jobs.manifest(job_id)
            finally:
                with self._lock:
                    self._reading.pop(job_id, None)
            with self._lock:
                self._keep(manifest)
            return manifest

    def _keep(self, manifest: JobManifest) -> None:
        self._kept[manifest.job_id] = manifest
        while len(self._kept) > _KEPT_JOBS or (
            len(self._kept) > 1
            and sum(len(kept.shards) for kept in self._kept.values()) > _KEPT_SHARDS
        ):
            self._kept.popitem(last=False)
