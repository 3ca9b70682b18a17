"""How many items a caller may have in open jobs."""

import threading
from collections.abc import Callable
from itertools import pairwise

from fornada.jobs.manifest import JobManifest
from gateway.auth.errors import RateExceededError
from gateway.auth.principal import Principal
from producer.client import Client

#: Open jobs whose facts, which never change, are kept.
_MOST_KNOWN = 100_000


class Quotas:
    """Counts items in open jobs by owner. Safe to share between threads.

    Jobs that several gateways accept at the same moment are not counted against each other.
    """

    def __init__(self, *, client: Client) -> None:
        self._client = client
        #: Open job -> its owner and its items.
        self._known: dict[str, tuple[str | None, int]] = {}
        self._lock = threading.Lock()

    def admission(self, caller: Principal) -> Callable[[int], None] | None:
        """Called with a job's items before the job exists; `None` for a caller without limit."""
        most = caller.open_items
        if most is None:
            return None

        def admit(item_count: int) -> None:
            with self._lock:
                left = most - self._open_items(caller.owner)
            if item_count > left:
                raise RateExceededError(
                    f"key {caller.owner} may have {most} items in open jobs, and has room for "
                    f"{max(0, left)}, not {item_count}; wait for jobs to end, or submit fewer"
                )

        return admit

    def check_verification(self, caller: Principal, manifest: JobManifest, *, sample: int) -> None:
        """Check that a caller may have so many shards of a job computed again, each time anew.

        Raises:
            RateExceededError: There are too many items in its open jobs.
        """
        admit = self.admission(caller)
        if admit is not None:
            bounds = pairwise([*manifest.shards.starts, manifest.item_count])
            # Which ones is not decided yet.
            admit(sum(sorted(end - start for start, end in bounds)[-sample:]))

    def _open_items(self, owner: str) -> int:
        open_ids = self._client.open_job_ids()
        for job_id in self._known.keys() - open_ids:
            del self._known[job_id]
        for manifest in self._client.manifests(open_ids - self._known.keys()):
            if len(self._known) < _MOST_KNOWN:
                self._known[manifest.job_id] = (manifest.owner, manifest.item_count)
        return sum(items for of, items in self._known.values() if of == owner)
