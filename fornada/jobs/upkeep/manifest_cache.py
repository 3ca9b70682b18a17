"""Manifests of the jobs that a process works on, each read and held once."""

import threading
import time
from collections import OrderedDict

from fornada.errors import MessageError
from fornada.jobs.ids import is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore

#: Jobs of a worker.
_KEPT_JOBS = 32
#: Most shards held, over all jobs; about 200 bytes each.
_KEPT_SHARDS = 1_000_000
#: How long a manifest that cannot be read is not read again, and most of them remembered.
_UNREADABLE_S = 60.0
_KEPT_UNREADABLE = 1024


class Manifests:
    """A cache of manifests that drops the least recently used. Safe to share between threads.

    A caller's id may be submitted again after its job was purged, so of such a job the store is
    asked each time whether the manifest is still the one that was read.

    Args:
        jobs: The store.
        kept_jobs: Most jobs held.
    """

    def __init__(self, *, jobs: JobStore, kept_jobs: int = _KEPT_JOBS) -> None:
        self._jobs = jobs
        self._kept_jobs = kept_jobs
        self._kept: OrderedDict[str, JobManifest] = OrderedDict()
        #: Job of a caller's id → the ETag of its manifest.
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        #: Job whose manifest cannot be read → why, and until when that holds.
        self._unreadable: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, job_id: str) -> JobManifest:
        """The job's manifest.

        Raises:
            JobNotFoundError: No job has this id.
            MessageError: The object is not a manifest.
            StoreError: The store cannot be reached.
        """
        etag = None if is_generated_id(job_id) else self._jobs.manifest_etag(job_id)
        with self._lock:
            known = self._known(job_id, etag)
            if known is not None:
                return known
            reading = self._reading.setdefault(job_id, threading.Lock())
        # If every thread read a large one, it would be in memory as many times.
        with reading:
            with self._lock:
                known = self._known(job_id, etag)
            if known is not None:
                return known
            try:
                manifest = self._jobs.manifest(job_id)
            except MessageError as exc:
                with self._lock:
                    self._remember_unreadable(job_id, str(exc))
                raise
            finally:
                with self._lock:
                    self._reading.pop(job_id, None)
            with self._lock:
                self._keep(manifest, etag)
            return manifest

    def _known(self, job_id: str, etag: str | None) -> JobManifest | None:
        if job_id in self._kept and self._etags.get(job_id) == etag:
            self._kept.move_to_end(job_id)
            return self._kept[job_id]
        why, until_s = self._unreadable.get(job_id, ("", 0.0))
        if time.monotonic() < until_s:
            raise MessageError(why)
        return None

    def _remember_unreadable(self, job_id: str, why: str) -> None:
        self._unreadable[job_id] = why, time.monotonic() + _UNREADABLE_S
        if len(self._unreadable) > _KEPT_UNREADABLE:
            self._unreadable.popitem(last=False)

    def _keep(self, manifest: JobManifest, etag: str | None) -> None:
        self._kept[manifest.job_id] = manifest
        if etag is not None:
            self._etags[manifest.job_id] = etag
        while len(self._kept) > self._kept_jobs or (
            len(self._kept) > 1
            and sum(len(kept.shards) for kept in self._kept.values()) > _KEPT_SHARDS
        ):
            dropped, _ = self._kept.popitem(last=False)
            self._etags.pop(dropped, None)
