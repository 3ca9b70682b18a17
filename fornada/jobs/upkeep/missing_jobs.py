"""Jobs that Redis lists as open and the store does not have: few looks, then they are dropped."""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fornada.coordination.interface import Recovery
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.repeated import Repeated

log = get_logger(__name__)

#: A job listed as open without a manifest for this long was never submitted: a producer lists it
#: right before it writes the manifest.
_GRACE_S = 600.0
#: Rounds between two looks at a missing job; double up to this many.
_LONGEST_WAIT_ROUNDS = 64
#: Unknown jobs that a round looks at one by one. Of more, the store is asked which it has.
_MOST_LOOKS = 256
#: Largest share of the time that listing all jobs of the store may take.
_LISTING_SHARE = 0.05


@dataclass(kw_only=True, slots=True)
class _Missing:
    since_s: float
    wait_rounds: int = 1
    due_round: int = 0


class MissingJobs:
    """Bounds what jobs cost that do not exist. Anyone may list any number of them in Redis.

    Args:
        jobs: The store.
        recovery: Redis.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(
        self, *, jobs: JobStore, recovery: Recovery, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs = jobs
        self._recovery = recovery
        self._monotonic = monotonic
        self._repeated = Repeated()
        self._missing: dict[str, _Missing] = {}
        self._round = 0
        #: Unknown jobs that the last listing found.
        self._stored: set[str] = set()
        self._listing_due_at = -math.inf
        #: Jobs that Redis listed and that the last census did not find.
        self._unstored: set[str] = set()

    def begin_round(self, open_jobs: AbstractSet[str]) -> set[str]:
        """Begin a round; return those of the open jobs that it need not look at."""
        self._round += 1
        for job_id in self._missing.keys() - open_jobs:
            del self._missing[job_id]
        return {job_id for job_id, found in self._missing.items() if found.due_round > self._round}

    def worth_a_look(self, unknown: AbstractSet[str]) -> set[str]:
        """Those to look at now, of jobs whose manifest this process has not read.

        Raises:
            BrokerError, StoreError: One of them cannot be reached.
        """
        self._stored &= unknown
        rest = unknown - self._stored
        began_at = self._monotonic()
        if len(rest) <= _MOST_LOOKS or began_at < self._listing_due_at:
            return self._stored.union(itertools.islice(rest, _MOST_LOOKS))
        self._stored = self._jobs.stored(unknown)
        took_s = self._monotonic() - began_at
        self._listing_due_at = began_at + took_s / _LISTING_SHARE
        missing = unknown - self._stored
        what = "jobs listed as open are not in the store"
        self._repeated.log(log.warning, what, jobs=len(missing))
        self.miss(missing)
        return set(self._stored)

    def miss(self, job_ids: Iterable[str]) -> None:
        """Note jobs that have no manifest, and drop those that had none for long.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        now_s = self._monotonic()
        dropped = []
        for job_id in job_ids:
            found = self._missing.setdefault(job_id, _Missing(since_s=now_s))
            found.due_round = self._round + found.wait_rounds
            found.wait_rounds = min(2 * found.wait_rounds, _LONGEST_WAIT_ROUNDS)
            if now_s - found.since_s > _GRACE_S:
                dropped.append(job_id)
        self._recovery.drop_jobs(dropped)
        for job_id in dropped:
            del self._missing[job_id]

    def drop_unstored(self, listed: Iterable[str], *, stored: AbstractSet[str]) -> None:
        """Drop jobs that Redis lists and that the store had at neither this nor the last census.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        unstored = set(listed) - stored
        self._recovery.drop_jobs(unstored & self._unstored)
        self._unstored = unstored

    def found(self, job_id: str) -> None:
        """Note that the job has a manifest."""
        self._missing.pop(job_id, None)
