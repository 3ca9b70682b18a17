"""Results of shards, held for the pages that show several of their items."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from fornada.formats.tensor_file import column_bytes
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from gateway.console.job_access import View
from producer.item_results import ShardResult
from producer.shard_reader import Found, ShardReader

#: Held for all pages together; what one shard may take to be read for a page.
_KEPT_BYTES = 64 * 1024 * 1024
MAX_RESULT_BYTES = 128 * 1024 * 1024


class ShardResults:
    """Reads results, and keeps the last ones. Safe to share between threads."""

    def __init__(self, *, jobs: JobStore) -> None:
        self._jobs = jobs
        self._kept: OrderedDict[Hashable, tuple[ShardResult, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, view: View, shard: int) -> ShardResult | None:
        """The results of a shard; `None` if it has none yet, or none that fit into memory here.

        Raises:
            IntegrityError: Stored bytes are not those that were committed.
            StoreError: The store cannot be reached.
        """
        outcome = self.outcome(view, shard)
        if outcome is None:
            return None
        if outcome.data is not None and outcome.data.size_bytes > MAX_RESULT_BYTES:
            return None
        key = (outcome.job_id, shard, outcome.attempt, outcome.committed_at)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        found = read_results(view.manifest, [outcome], jobs=self._jobs)[0]
        size_bytes = sum(map(column_bytes, found.outputs.values()))
        with self._lock:
            self._kept[key] = (found, size_bytes)
            while len(self._kept) > 1 and sum(n for _, n in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return found

    def outcome(self, view: View, shard: int) -> ShardOutcome | None:
        """The outcome of a shard that counts, if it has one.

        Raises:
            StoreError: The store cannot be reached.
        """
        if view.final is not None:
            return self._jobs.counted_outcome(view.final, shard)
        return self._jobs.outcome(view.manifest.job_id, shard)


def read_results(
    manifest: JobManifest, outcomes: list[ShardOutcome], *, jobs: JobStore
) -> list[ShardResult]:
    """The results of shards with these outcomes.

    Raises:
        IntegrityError, StoreError: As `ShardReader.results`.
    """
    found = (Found(outcome.shard, outcome) for outcome in outcomes)
    return [result for _, result in ShardReader(manifest, jobs=jobs).results(found)]
