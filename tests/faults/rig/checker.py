"""What must hold of a job whatever happened to it: one checker, for every fault test."""

import itertools
import threading
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from fornada import keys
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest
from fornada.ranges import from_ranges
from fornada.storage.interface import ObjectStore
from fornada.storage.wrapper import StoreWrapper
from worker.shards.service import _ISOLATED_ATTEMPTS

from ...arrays import stored_rows

#: No test is so unlucky more often.
_KILLED_SAYING_SO = 3
_WATCHED = ("/outcome/", "/dead/", "/final.json")


def check_job(
    objects: ObjectStore,
    job_id: str,
    *,
    expected_probabilities: NDArray[np.float32],
    max_attempts: int,
) -> None:
    """Check all that Fornada promises of a job that has ended.

    Args:
        objects: The store that the job ended on.
        job_id: The job.
        expected_probabilities: float32 [items, classes] of an undisturbed run, NaN for items that
            fail.
        max_attempts: As in the job's manifest; what comes on top is the protocol's own.
    """
    jobs = JobStore(objects=objects)
    manifest, final = jobs.manifest(job_id), jobs.final(job_id)
    assert final is not None, f"{job_id} has no final.json"
    outcomes = {
        o.shard: o
        for o in jobs.outcomes(
            job_id, sorted(jobs.outcome_shards(job_id, shard_count=len(manifest.shards)))
        )
    }
    _check_completeness(manifest, final, outcomes)
    firsts = [0, *itertools.accumulate(shard.item_count for shard in manifest.shards)]
    assert (firsts[-1], manifest.output.width) == expected_probabilities.shape
    joined: list[bytes] = []
    for shard, outcome in outcomes.items():
        joined += check_outcome(
            jobs,
            manifest,
            outcome,
            expected=expected_probabilities[firsts[shard] : firsts[shard + 1]],
        )
        most = max_attempts + _ISOLATED_ATTEMPTS
        if outcome.status == "dead":
            # One more only says so, and as many more as were killed before they could.
            most += 1 + _KILLED_SAYING_SO
        assert outcome.attempts <= most, outcome
    if final.state == "SUCCEEDED":
        assert expected_probabilities.tobytes() == b"".join(joined)
    _check_final(jobs, manifest, final, outcomes)


def check_outcome(
    jobs: JobStore, manifest: JobManifest, outcome: ShardOutcome, *, expected: NDArray[np.float32]
) -> list[bytes]:
    """Check one outcome and the bytes behind it.

    Args:
        jobs: Where it is.
        manifest: Of its job.
        outcome: The outcome.
        expected: float32 [items, classes], NaN for items that fail.

    Returns:
        The bytes of the probabilities; nothing where the shard is dead.
    """
    spec = manifest.shards[outcome.shard]
    assert manifest.job_id == outcome.job_id
    assert spec.item_count == outcome.item_count
    assert manifest.model.sha256 == outcome.model_sha256
    if outcome.status == "dead":
        assert outcome.data is None
        assert outcome.reason in {"input", "crash-loop"}, outcome
        assert outcome.detail
        return []
    assert outcome.data is not None
    assert outcome.data.sha256 is not None
    assert outcome.attempt in outcome.data.key, "the data is another attempt's"
    # Reading checks size and sha256.
    data = stored_rows(jobs, outcome)
    assert np.float32 == data.dtype
    assert expected.shape == data.shape
    assert expected.tobytes() == data.tobytes(), f"{manifest.job_id}/{outcome.shard} differs"
    failed = np.flatnonzero(np.isnan(expected).any(axis=1))
    assert list(failed) == [error.index for error in outcome.item_errors]
    assert all(error.reason for error in outcome.item_errors)
    return [data.tobytes()]


def _check_completeness(
    manifest: JobManifest, final: JobFinal, outcomes: dict[int, ShardOutcome]
) -> None:
    shards = set(range(len(manifest.shards)))
    counted = set(from_ranges(final.outcome_ranges))
    assert set(outcomes) <= shards, "outcomes of shards that are none"
    assert counted <= set(outcomes), "the end counts outcomes that are not there"
    by_model = final.state == "FAILED" and (final.reason or "").startswith("model ")
    if final.state in {"SUCCEEDED", "PARTIAL", "FAILED"} and not by_model:
        assert shards == counted, f"{manifest.job_id} ended {final.state} without all outcomes"


def _check_final(
    jobs: JobStore, manifest: JobManifest, final: JobFinal, outcomes: dict[int, ShardOutcome]
) -> None:
    """Counts and digest are those of the outcomes that count."""
    counted, died = from_ranges(final.outcome_ranges), set(from_ranges(final.dead_ranges))
    held = [_held_at_end(jobs, final, outcomes[shard], dead=shard in died) for shard in counted]
    assert OutcomesDigest(held).sha256 == final.outcomes_sha256
    ok = [outcome for outcome in held if outcome.status == "ok"]
    item_errors = sum(len(outcome.item_errors) for outcome in ok)
    items_dead = sum(outcome.item_count for outcome in held if outcome.status == "dead")
    assert len(ok) == final.shards_ok
    assert len(held) - len(ok) == final.shards_dead == len(died)
    assert len(manifest.shards) - len(held) == final.shards_missing
    assert sum(outcome.item_count for outcome in ok) - item_errors == final.items_ok
    assert items_dead + item_errors == final.items_failed
    if jobs.objects.conditional_writes:
        # Elsewhere another attempt's outcome, of the same bytes, may come after the end.
        assert sum(outcome.attempts for outcome in held) == final.attempts
    assert (final.state == "SUCCEEDED") <= (final.items_ok == manifest.item_count)
    assert (final.state == "PARTIAL") <= (final.items_ok > 0 and final.items_failed > 0)


def _held_at_end(
    jobs: JobStore, final: JobFinal, outcome: ShardOutcome, *, dead: bool
) -> ShardOutcome:
    """The outcome that counts: without conditional writes, an ok may have come after the end."""
    if final.outcome is not None:
        # Another attempt that Redis, wiped in between, knew nothing of came to the same.
        assert _end(final.outcome) == _end(outcome)
        return final.outcome
    held = jobs.counted_outcome(final, outcome.shard)
    assert held is not None
    assert ("dead" if dead else "ok") == held.status
    return held


class OutcomeHistory(StoreWrapper):
    """An `ObjectStore` that remembers every version of the outcomes and ends written through it.

    Where other processes write, call `observe` while they do, as often as is wanted.
    """

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__(objects)
        self._lock = threading.Lock()
        #: Key → every different version that was there, oldest first.
        self.versions: dict[str, list[bytes]] = defaultdict(list)
        #: Jobs that ended while Redis was emptied: elsewhere than on a store with conditions
        #: nothing decides between two ends then.
        self.may_end_twice: set[str] = set()

    def put(self, key: str, data: bytes) -> None:
        """As the store; remembers `data`."""
        super().put(key, data)
        self.remember(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """As the store; remembers what is there then."""
        written = super().put_if_absent(key, data)
        if _is_watched(key):
            self.remember(key, self.objects.get(key).data)
        return written

    def delete(self, key: str) -> None:
        """As the store; what was committed is never deleted while its job is looked at."""
        assert not _is_watched(key), f"{key} was deleted"
        super().delete(key)

    def observe(self, job_id: str) -> None:
        """Remember what is there of the job now."""
        for info in self.objects.list(keys.JobKeys(job_id).prefix):
            if _is_watched(info.key):
                self.remember(info.key, self.objects.get(info.key).data)

    def check(self) -> None:
        """No committed outcome ever changed, and a job ended once.

        Where the store ignores conditions, an outcome may be written again by another attempt
        that came to the same: same status, same bytes.
        """
        for key, versions in self.versions.items():
            if self.conditional_writes:
                assert 1 == len(versions), f"{key} changed: {versions}"
            elif key.endswith("/final.json"):
                ended_once = 1 == len(versions) or _job_of(key) in self.may_end_twice
                assert ended_once, f"{key} changed: {versions}"
            else:
                meanings = {_meaning(key, version) for version in versions}
                assert 1 == len(meanings), f"{key} changed: {versions}"

    def remember(self, key: str, data: bytes) -> None:
        """Remember a version that was written, if its key is watched."""
        if _is_watched(key):
            with self._lock:
                if data not in self.versions[key]:
                    self.versions[key].append(data)


def _job_of(key: str) -> str:
    return key.removeprefix(keys.JOBS_PREFIX).split("/")[0]


def _is_watched(key: str) -> bool:
    return key.startswith(keys.JOBS_PREFIX) and any(part in key for part in _WATCHED)


def _meaning(key: str, data: bytes) -> tuple[str, str | None]:
    return _end(ShardOutcome.from_json(data, where=key))


def _end(outcome: ShardOutcome) -> tuple[str, str | None]:
    return outcome.status, outcome.data.sha256 if outcome.data else None
