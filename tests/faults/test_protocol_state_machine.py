"""The job protocol in memory, under faults in any order that Hypothesis finds."""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import hypothesis.strategies as st
import numpy as np
import pytest
import structlog
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray
from PIL import Image

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.errors import (
    BrokerError,
    JobNotFoundError,
    MessageError,
    ModelDeclinedError,
    PartlySubmittedError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.formats.rows import Rows
from fornada.jobs.ids import with_content_id
from fornada.jobs.items import Placed
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.queue.message import ShardMessage
from fornada.records import MAX_INLINE_BYTES, ItemError, ModelPin
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import ImagePreprocessing
from fornada.testing import InMemoryCoordination
from fornada.trust.input_prefixes import InputPrefixes
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from producer.client import Client
from producer.inputs.interface import ImageFile, StoredImages
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.model_cache import ModelCache
from worker.host.deadlines import Deadlines
from worker.shards.service import _ISOLATED_ATTEMPTS, ShardService

from ..photos import encoded, tar_of
from .rig.checker import OutcomeHistory, check_job, check_outcome
from .rig.stepped import Activity, Fault, Port

MAX_ATTEMPTS = 2
LEASE_S = 30.0
WINDOW = 2
DEADLINE_S = 100.0
#: Most calls in progress.
MOST_ACTIVITIES = 5
#: 600 rounds until the reconciler's census of the store, and 200 for the jobs to end.
FAIR_ROUNDS = 800
JOBS = ("a", "b", "c")
#: Until this many are accepted, jobs of one image each are added.
MOST_JOBS = 8
WORKERS = ("worker-1", "worker-2")
#: The default queue and another, each with workers and a reconciler of its own.
QUEUES = ("fornada", "gpu")
BUCKET = "photos"
#: Where jobs read what lies in the store already.
_READ = f"s3://{BUCKET}/camera/"
#: Images in an array, files in tars, stored files, and stored files within a tar.
WAYS = ("array", "files", "objects", "ranges")
STORED = ("objects", "ranges")
#: The first bad image of a job; every fourth from there on is bad, too.
BAD = 2
_OUTAGES = (BrokerError, PartlySubmittedError, StoreAccessError, StoreUnavailableError)

_STEPS = st.none() | st.integers(1, 8)
_FAULTS = st.none() | st.builds(
    Fault, st.sampled_from(["crash", "crash", "refused", "answer lost"]), st.integers(1, 10)
)


#: Nonces of the current machine: jobs get the same ids on each run, so failures reproduce.
_nonces: list[Iterator[int]] = []


class _Engine:
    """A deterministic model."""

    engine, streams, calls_ahead, tile_items, part_items = "fake 1", 1, 0, 4, None

    def rows_for(self, _item_shape: Sequence[int]) -> int:
        return self.tile_items

    def predict_tile(self, tile: Rows) -> Rows:
        return Rows(predicted(tile.only))


def predicted(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [items, 2] of [items, 1, 3]; NaN for items with NaN."""
    sums = rows.sum(axis=(1, 2), dtype=np.float32)
    return np.stack([sums, np.sqrt(sums)], axis=1)


class _Isolated:
    """An `IsolatedProcess` that answers with the shard's expected probabilities."""

    engine = "fake 1"

    def __init__(self, probabilities: NDArray[np.float32]) -> None:
        self._probabilities = probabilities
        self.call_sizes = {"tile_items": 4}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def predict(self, first: int, count: int) -> Placed:
        part = self._probabilities[first : first + count]
        failed = first + np.flatnonzero(np.isnan(part).any(axis=1))
        return Placed([part], [ItemError(index=int(index), reason="it is bad") for index in failed])


class _DecliningModels:
    """The models of a worker that may load none, for want of a key or a package."""

    def __init__(self, *, at_load: bool) -> None:
        self._at_load = at_load

    def why_declined(self, _model: ModelPin) -> str | None:
        return None if self._at_load else "no key"

    def use(self, _model: ModelPin) -> Any:
        raise ModelDeclinedError("no key")

    def decline(self, _model: ModelPin, _why: str) -> None:
        """Nothing: its service runs one bundle."""


class ProtocolMachine(RuleBasedStateMachine):
    """Producers, workers and reconcilers on one store and one Redis, one step at a time."""

    def __init__(self, *, conditional_writes: bool, folder: Path) -> None:
        super().__init__()
        #: Redis's clock, which may be set, and the latest that it showed.
        self.now_s = self.latest_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        #: The time that passes.
        self.passed_s = 0.0
        self.queues: dict[str, list[Sequence[ShardMessage]]] = {queue: [] for queue in QUEUES}
        self.unacknowledged: list[Sequence[ShardMessage]] = []
        _nonces.append(itertools.count())
        #: Whether inputs are inlined in manifests, so that jobs are small.
        self.inline = False
        #: How all jobs' images come.
        self.way = "array"
        self.store_is_down = self.broker_is_down = False
        #: Queues whose workers may not load the model for now.
        self.declining: set[str] = set()
        #: Jobs whose objects the store refuses for now.
        self.refused: set[str] = set()
        self.store = InMemoryObjectStore(conditional_writes=conditional_writes)
        self.history = OutcomeHistory(self.store)
        first = InMemoryCoordination(clock=lambda: self.now_s, lease_s=LEASE_S)
        self.coordination = {
            queue: first.for_queue(queue, queue_length=messages.__len__)
            for queue, messages in self.queues.items()
        }
        self.jobs = JobStore(objects=self.history)
        self.models = self._new_models(folder)
        self.activities: list[Activity] = []
        self.reconcilers: dict[tuple[str, str], tuple[Port, Reconciler]] = {}
        self.submissions: dict[str, dict[str, Any]] = {}
        self.begun: Counter[tuple[str, int]] = Counter()
        self.damaged: set[str] = set()
        self.cancelled: set[str] = set()
        self.deadly: dict[tuple[str, int], str] = {}
        self.sound = True

    # Rules.

    @initialize(
        items=st.integers(1, 7),
        items_per_shard=st.integers(1, 2),
        inline=st.booleans(),
        way=st.sampled_from(WAYS),
    )
    def submit_first(self, *, items: int, items_per_shard: int, inline: bool, way: str) -> None:
        """Start with one job."""
        self.inline, self.way = inline and way not in STORED, way
        self.submit(
            job=JOBS[0],
            items=items,
            items_per_shard=items_per_shard,
            deadline_s=None,
            queue=QUEUES[0],
            steps=None,
            fault=None,
        )

    @rule(
        job=st.sampled_from(JOBS),
        items=st.integers(1, 7),
        items_per_shard=st.integers(1, 2),
        deadline_s=st.none() | st.none() | st.just(DEADLINE_S),
        queue=st.sampled_from([QUEUES[0], *QUEUES]),
        steps=_STEPS,
        fault=_FAULTS,
    )
    def submit(
        self,
        *,
        job: str,
        items: int,
        items_per_shard: int,
        deadline_s: float | None,
        queue: str,
        steps: int | None,
        fault: Fault | None,
    ) -> None:
        """Submit a job, or the same again where the key was used before."""
        options = self.submissions.setdefault(
            job,
            {
                "items": items,
                "items_per_shard": items_per_shard,
                "deadline_s": deadline_s,
                "queue": queue,
            },
        )
        client, port = self._new_client(options["queue"])
        inputs = self._inputs(job, options["items"])
        self._start(
            port,
            lambda: client.submit(
                inputs,
                model="m",
                idempotency_key=job,
                items_per_shard=options["items_per_shard"],
                deadline_s=options["deadline_s"],
            ),
            steps,
            fault,
        )

    @precondition(lambda self: self.inline and len(self._accepted()) < MOST_JOBS)
    @rule(
        count=st.integers(1, 4),
        expires=st.booleans(),
        queue=st.sampled_from([QUEUES[0], *QUEUES]),
        steps=_STEPS,
        fault=_FAULTS,
    )
    def submit_many(
        self, *, count: int, expires: bool, queue: str, steps: int | None, fault: Fault | None
    ) -> None:
        """Submit jobs of one image each, with content ids."""
        client, port = self._new_client(queue)
        inputs = self._inputs(JOBS[0], count)
        self._start(
            port,
            lambda: client.submit_many(
                [inputs[number : number + 1] for number in range(count)],
                model="m",
                deadline_s=DEADLINE_S if expires else None,
            ),
            steps,
            fault,
        )

    @precondition(lambda self: self._queued())
    @rule(position=st.integers(0, 20), steps=_STEPS, fault=_FAULTS)
    def deliver(self, position: int, steps: int | None, fault: Fault | None) -> None:
        """A worker of its queue takes a message, in any order."""
        queued = self._queued()
        queue, bundle = queued[position % len(queued)]
        self.queues[queue].remove(bundle)
        port = self._new_port(queue)
        service = self._new_service(port, declines=queue in self.declining)
        self._start(port, lambda: service.run_bundle(bundle), steps, fault, bundle=bundle)

    @precondition(lambda self: self._queued())
    @rule(fault=_FAULTS)
    def deliver_all(self, fault: Fault | None) -> None:
        """Workers run all that is queued, each message with the same fault."""
        for _ in self._queued():
            self.deliver(0, None, fault)

    @precondition(lambda self: self._queued())
    @rule(position=st.integers(0, 20), steps=st.integers(2, 7), damage=st.booleans())
    def overtake(self, position: int, steps: int, *, damage: bool) -> None:
        """An attempt stalls until its lease ends, and another does the work."""
        queued = self._queued()
        queue, bundle = queued[position % len(queued)]
        self.deliver(position, steps, None)
        self._pass(LEASE_S + 1)
        self.coordination[queue].elapse(LEASE_S + 1)
        if damage:
            self._damage(self.jobs.manifest(bundle[0].job_id), bundle[0].shard)
        self.queues[queue].append(bundle)
        self.deliver(self._queued().index((queue, bundle)), None, None)

    @precondition(lambda self: self.activities)
    @rule(which=st.integers(0, MOST_ACTIVITIES), steps=_STEPS)
    def go_on(self, which: int, steps: int | None) -> None:
        """A call in progress takes more steps."""
        self._advance(self._activity(which), steps)

    @precondition(lambda self: self.activities)
    @rule(which=st.integers(0, MOST_ACTIVITIES))
    def kill(self, which: int) -> None:
        """A process dies between two steps."""
        activity = self._activity(which)
        activity.kill()
        self._advance(activity, None)

    @precondition(lambda self: self._queued() or self.unacknowledged or self.activities)
    @rule(
        what=st.sampled_from(["lose", "repeat", "restore", "restore", "renew"]),
        position=st.integers(0, 20),
    )
    def shake(self, what: str, position: int) -> None:
        """Redis loses, repeats or returns messages, or attempts renew their leases."""
        if what == "restore":
            self._restore()
        elif what == "renew":
            self._renew_leases()
        elif queued := self._queued():
            queue, bundle = queued[position % len(queued)]
            if what == "lose":
                self.queues[queue].remove(bundle)
            else:
                self.queues[queue] += [bundle] * 2

    @rule(
        holder=st.sampled_from(WORKERS),
        queue=st.sampled_from([QUEUES[0], *QUEUES]),
        steps=_STEPS,
        fault=_FAULTS,
    )
    def reconcile(self, holder: str, queue: str, steps: int | None, fault: Fault | None) -> None:
        """A worker's reconciler begins a round, or continues one."""
        port, reconciler = self._reconciler(queue, holder)
        if port.activity is not None and not port.activity.ended:
            self._advance(port.activity, steps)
        else:
            self._start(port, reconciler.round, steps, fault)

    @rule(seconds=st.sampled_from([1, 16, 31, 61, 700]))
    def wait(self, seconds: int) -> None:
        """Time passes, and servers that were down are up again, and workers set up."""
        self._pass(seconds)
        self.store_is_down = self.broker_is_down = False
        self.declining.clear()
        self.refused.clear()

    @rule(by_s=st.sampled_from([-3600, 3600]))
    def set_clock(self, by_s: int) -> None:
        """Redis's clock is set forward or back, or another server takes over whose clock is off."""
        self.now_s += by_s
        self.latest_s = max(self.latest_s, self.now_s)

    @precondition(lambda self: self._accepted())
    @rule(
        what=st.sampled_from(
            [
                "flush",
                "store down",
                "broker down",
                "model declined",
                "store refuses",
                "unreadable",
                "cancel",
                "damage",
                "deadly",
                "deadly to workers",
            ]
        ),
        which=st.integers(0, 2),
        shard=st.integers(0, 6),
        steps=_STEPS,
        fault=_FAULTS,
    )
    def disturb(
        self, what: str, which: int, shard: int, steps: int | None, fault: Fault | None
    ) -> None:
        """Redis is wiped, a server goes down, a job is cancelled, or an input is bad."""
        accepted = self._accepted()
        manifest = accepted[which % len(accepted)]
        shard %= len(manifest.shards)
        if what == "flush":
            self._flush(accepted)
        elif what == "store down":
            self.store_is_down = True
        elif what == "broker down":
            self.broker_is_down = True
        elif what == "model declined":
            self.declining.add(manifest.queue_name)
        elif what == "store refuses":
            self.refused.add(manifest.job_id)
        elif what == "unreadable":
            # Somebody writes what is no manifest, and lists it as a job.
            self.store.put(keys.JobKeys("unreadable").manifest, b"{}")
            self.coordination[QUEUES[shard % 2]].open_job("unreadable")
        elif what == "cancel":
            self._cancel(manifest.job_id, steps, fault)
        elif what == "damage":
            self._damage(manifest, shard)
        else:
            self.deadly[manifest.job_id, shard] = what

    # Invariants.

    @invariant()
    def nothing_committed_changes(self) -> None:
        """No outcome changes, and a job ends once."""
        self.sound = False
        self.history.check()
        self.sound = True

    @invariant()
    def outcomes_are_right(self) -> None:
        """Every outcome has the bytes of an undisturbed run, or is dead for a reason."""
        self.sound = False
        for manifest in self._accepted():
            for outcome in self.jobs.outcomes(manifest.job_id, sorted(self._done(manifest))):
                check_outcome(
                    self.jobs, manifest, outcome, expected=self._expected(manifest, outcome.shard)
                )
                self._check_death(outcome.job_id, outcome.shard, outcome.reason)
        self.sound = True

    @invariant()
    def ends_are_earned(self) -> None:
        """Each end follows from the outcomes, the deadline or a request to cancel."""
        self.sound = False
        for manifest in self._accepted():
            final = self.jobs.final(manifest.job_id)
            if final is None:
                continue
            if final.state == "SUCCEEDED":
                shards = set(range(len(manifest.shards)))
                assert shards == self._done(manifest)
                assert (len(shards), 0) == (final.shards_ok, final.shards_dead)
                assert 0 == final.items_failed
            elif final.state in {"PARTIAL", "FAILED"}:
                assert final.shards_dead or np.isnan(self._images(manifest)).any()
                assert (final.state == "PARTIAL") == (final.items_ok > 0)
            elif final.state == "CANCELLED":
                assert manifest.job_id in self.cancelled
            else:
                assert manifest.deadline is not None
                assert self.latest_s > manifest.deadline.timestamp()
        self.sound = True

    @invariant()
    def queues_keep_their_jobs(self) -> None:
        """No reconciler enqueues another queue's job."""
        for queue, bundle in self._queued():
            assert queue == self._queue_of(bundle)

    def teardown(self) -> None:
        """Without further faults, every accepted job ends, and ends right."""
        try:
            if self.sound:
                self._end_fairly()
        finally:
            for activity in self.activities:
                activity.kill()
            self.models.close()

    def _end_fairly(self) -> None:
        self.store_is_down = self.broker_is_down = False
        self.declining.clear()
        self.refused.clear()
        for activity in list(self.activities):
            activity.fault = None
            self._advance(activity, None)
        rounds = 0
        while any(self.jobs.final(manifest.job_id) is None for manifest in self._accepted()):
            rounds += 1
            assert rounds <= FAIR_ROUNDS, "a job does not end"
            self._restore()
            while self._queued():
                self.deliver(0, None, None)
            for queue in {manifest.queue_name for manifest in self._accepted()}:
                self.reconcile(WORKERS[0], queue, None, None)
            self._pass(20)
        self.nothing_committed_changes()
        self.outcomes_are_right()
        self.ends_are_earned()
        for manifest in self._accepted():
            check_job(
                self.history,
                manifest.job_id,
                expected_probabilities=predicted(self._images(manifest)),
                max_attempts=MAX_ATTEMPTS,
            )

    # Parts.

    def _new_models(self, folder: Path) -> ModelCache:
        store = ModelStore(objects=self.history)
        golden = np.zeros((1, 1, 3), np.float32)
        store.publish(
            draft_for_test(
                name="m",
                item_shape=[1, 3],
                item_dtype="float32",
                classes=["a", "b"],
                image=ImagePreprocessing(resize="none", color="grayscale"),
            ),
            artifact=b"weights",
            golden_inputs=golden,
            golden_outputs=predicted(golden),
            check=lambda _artifact: None,
        )
        return ModelCache(
            Settings(max_loaded_models=1, max_latency_s=0.0),
            models=store,
            build=lambda *_: _Engine(),
            disk=ArtifactCache(folder),
        )

    def _new_port(self, queue: str) -> Port:
        port = Port(
            objects=self.history,
            coordination=self.coordination[queue],
            queue=self.queues[queue],
            on_begin=lambda *begun: self._on_begin(port, *begun),
        )
        port.store_is_down = lambda: self.store_is_down
        port.broker_is_down = lambda: self.broker_is_down
        port.refuses = lambda key: any(f"jobs/{job_id}/" in key for job_id in self.refused)
        return port

    def _new_client(self, queue: str) -> tuple[Client, Port]:
        port = self._new_port(queue)
        client = Client(
            objects=port.objects,
            coordination=port.coordination,
            sender=port,
            settings=Settings(
                queue=queue,
                enqueue_window=WINDOW,
                max_attempts=MAX_ATTEMPTS,
                max_inline_bytes=MAX_INLINE_BYTES if self.inline else 0,
                input_prefixes=_READ,
            ),
        )
        return client, port

    def _new_service(self, port: Port, *, declines: bool) -> ShardService:
        return ShardService(
            Settings(lease_s=LEASE_S),
            worker="worker",
            jobs=JobStore(
                objects=port.objects,
                decisions=port.coordination,
                prefixes=InputPrefixes.from_settings(Settings(input_prefixes=_READ)),
            ),
            manifests=Manifests(jobs=JobStore(objects=port.objects, decisions=port.coordination)),
            models=cast("ModelCache", _DecliningModels(at_load=len(self.activities) % 2 == 0))
            if declines
            else self.models,
            leases=port.coordination,
            endings=Endings(
                jobs=JobStore(objects=port.objects, decisions=port.coordination),
                open_jobs=port.coordination,
                holder="worker",
                lease_s=LEASE_S,
            ),
            deadlines=Deadlines(),
            isolate=self._isolate,
        )

    def _isolate(self, manifest: JobManifest, shard: int) -> Any:
        return _Isolated(self._expected(manifest, shard))

    def _reconciler(self, queue: str, holder: str) -> tuple[Port, Reconciler]:
        port, reconciler = self.reconcilers.get((queue, holder), (None, None))
        if port is not None and reconciler is not None:
            crashed = port.activity is not None and port.activity.crashed
            if not crashed:
                return port, reconciler
        port = self._new_port(queue)
        # The clocks of two machines show different times.
        skew_s = 1e6 * WORKERS.index(holder)
        reconciler = Reconciler(
            jobs=JobStore(objects=port.objects, decisions=port.coordination),
            manifests=Manifests(jobs=JobStore(objects=port.objects, decisions=port.coordination)),
            recovery=port.coordination,
            sender=port,
            settings=Settings(
                queue=queue, reconcile_interval_s=5.0, enqueue_window=WINDOW, lease_s=LEASE_S
            ),
            holder=holder,
            monotonic=lambda: self.passed_s + skew_s,
        )
        self.reconcilers[queue, holder] = (port, reconciler)
        return port, reconciler

    def _start(
        self,
        port: Port,
        call: Callable[[], object],
        steps: int | None,
        fault: Fault | None,
        *,
        bundle: Sequence[ShardMessage] = (),
    ) -> None:
        if len(self.activities) >= MOST_ACTIVITIES:
            self._advance(self.activities[0], None)
        activity = port.activity = Activity(call, fault=fault, bundle=bundle)
        self.activities.append(activity)
        self._advance(activity, steps)

    def _advance(self, activity: Activity, steps: int | None) -> None:
        activity.advance(steps)
        if not activity.ended:
            return
        self.activities.remove(activity)
        if activity.bundle:
            # No exception may leave a shard's run.
            assert activity.error is None, repr(activity.error)
            if activity.crashed:
                self.unacknowledged.append(activity.bundle)
        elif activity.error is not None and not isinstance(activity.error, _OUTAGES):
            raise activity.error

    def _cancel(self, job_id: str, steps: int | None, fault: Fault | None) -> None:
        client, port = self._new_client(self.jobs.manifest(job_id).queue_name)
        self.cancelled.add(job_id)
        self._start(port, lambda: client.job(job_id).cancel(), steps, fault)

    def _damage(self, manifest: JobManifest, shard: int) -> None:
        if manifest.is_small:
            # Its input is in its manifest.
            return
        spec = manifest.shards[shard]
        if self.way == "objects":
            # A photograph that changed fails alone, at its next reading.
            return
        # Of what lies in the user's archive, Fornada wrote the index alone.
        ref = spec.index if self.way == "ranges" and spec.index else spec.objects[0]
        self.history.put(ref.key, b"damaged")
        self.damaged.add(manifest.job_id)

    def _flush(self, accepted: Sequence[JobManifest]) -> None:
        if any(not activity.ended for activity in self.activities):
            # One of them may have decided the end in Redis, and not written it yet.
            open_jobs = {job.job_id for job in accepted if self.jobs.final(job.job_id) is None}
            self.history.may_end_twice |= open_jobs
        self.coordination[QUEUES[0]].flush()
        for messages in self.queues.values():
            messages.clear()
        self.unacknowledged.clear()

    def _restore(self) -> None:
        """The visibility timeout passes, even for messages in progress."""
        at_work = [activity.bundle for activity in self.activities if activity.bundle]
        for bundle in self.unacknowledged + at_work:
            self.queues[self._queue_of(bundle)].append(bundle)
        self.unacknowledged.clear()

    def _renew_leases(self) -> None:
        for activity in self.activities:
            for (job_id, shard), attempt in activity.attempts.items():
                queue = self.jobs.manifest(job_id).queue_name
                claim = Claim(job_id, shard, attempt)
                self.coordination[queue].renew([claim], lease_s=LEASE_S)

    def _pass(self, seconds: float) -> None:
        self.passed_s += seconds
        self.set_clock(seconds)

    def _queued(self) -> list[tuple[str, Sequence[ShardMessage]]]:
        """What is queued, each with its queue."""
        return [(queue, bundle) for queue, some in self.queues.items() for bundle in some]

    def _queue_of(self, bundle: Sequence[ShardMessage]) -> str:
        return self.jobs.manifest(bundle[0].job_id).queue_name

    def _activity(self, which: int) -> Activity:
        return self.activities[which % len(self.activities)]

    def _on_begin(self, port: Port, job_id: str, shard: int, attempt: str, number: int) -> None:
        assert port.activity is not None
        port.activity.attempts[job_id, shard] = attempt
        self.begun[job_id, shard] += 1
        allowed = {"deadly to workers": MAX_ATTEMPTS, "deadly": MAX_ATTEMPTS + _ISOLATED_ATTEMPTS}
        # A deadly shard ends its worker, except in the attempt that only declares it dead.
        if number <= allowed.get(self.deadly.get((job_id, shard), ""), 0):
            if number > MAX_ATTEMPTS:
                self.jobs.note_isolated(job_id, shard, attempt)
            port.activity.killed = True

    def _accepted(self) -> list[JobManifest]:
        manifests = []
        for job_id in self.jobs.job_ids():
            try:
                manifests.append(self.jobs.manifest(job_id))
            except (JobNotFoundError, MessageError):
                continue
        return manifests

    def _done(self, manifest: JobManifest) -> set[int]:
        return self.jobs.outcome_shards(manifest.job_id, shard_count=len(manifest.shards))

    def _inputs(self, job: str, items: int) -> Any:
        """The job's images, as a caller has them."""
        images = images_of(job, items)
        if self.way == "array":
            return images
        files = [photo_of(image) for image in images]
        names = [f"{number}.png" for number in range(items)]
        if self.way == "files":
            return [ImageFile(name=n, data=f) for n, f in zip(names, files, strict=True)]
        # Below the steps: they lie there before anything happens.
        prefix = f"camera/{job}"
        if self.way == "objects":
            for name, file in zip(names, files, strict=True):
                self.store.put(f"{prefix}/{name}", file, bucket=BUCKET)
            return StoredImages(bucket=BUCKET, prefix=f"{prefix}/")
        self.store.put(f"{prefix}.tar", tar_of(dict(zip(names, files, strict=True))), bucket=BUCKET)
        return StoredImages(bucket=BUCKET, prefix=f"{prefix}.tar")

    def _images(self, manifest: JobManifest) -> NDArray[np.float32]:
        if manifest.job_id in JOBS:
            return images_of(manifest.job_id, manifest.item_count)
        # A small job, whose id is the digest of its content.
        assert with_content_id(manifest).manifest == manifest
        (spec,) = manifest.shards
        items = read_items(manifest, spec, jobs=self.jobs)
        if items.errors:
            return np.full((1, 1, 3), np.nan, np.float32)
        (group,) = items.groups
        known = {row.tobytes() for row in images_of(JOBS[0], 4)}
        assert {row.tobytes() for row in group.rows.only} <= known
        return group.rows.only

    def _expected(self, manifest: JobManifest, shard: int) -> NDArray[np.float32]:
        first = sum(spec.item_count for spec in manifest.shards[:shard])
        images = self._images(manifest)
        return predicted(images[first : first + manifest.shards[shard].item_count])

    def _check_death(self, job_id: str, shard: int, reason: str | None) -> None:
        if reason == "input":
            assert job_id in self.damaged
        if reason == "crash-loop":
            assert self.begun[job_id, shard] > MAX_ATTEMPTS + _ISOLATED_ATTEMPTS


def images_of(job: str, items: int) -> NDArray[np.float32]:
    """A job's own images: float32 [items, 1, 3], of which some are bad, and NaN."""
    first = 70 * (1 + JOBS.index(job))
    images = np.arange(first, first + 3 * items, dtype=np.float32).reshape(items, 1, 3)
    images[BAD::4] = np.nan
    return images


def photo_of(image: NDArray[np.float32]) -> bytes:
    """The image as a PNG, which is cut short where it is bad."""
    whole = encoded(Image.fromarray(np.nan_to_num(image).astype(np.uint8)), "PNG")
    return whole[:-20] if np.isnan(image).any() else whole


class _InOrder:
    """A thread pool that runs in the caller's thread, so that steps have one order."""

    def __init__(self, max_workers: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def map(self, function: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        return map(function, values)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(autouse=True)
def _silent_logs() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(params=[True, False], ids=["conditional", "unconditional"])
def run_machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Run the machine for this many examples, or as many as HYPOTHESIS_PROFILE says."""
    monkeypatch.setattr("fornada.parallel.ThreadPoolExecutor", _InOrder)
    for module in ("upload", "creation", "submitter"):
        monkeypatch.setattr(f"producer.submitting.{module}.ThreadPoolExecutor", _InOrder)
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: f"{next(_nonces[-1]):016x}")
    profile = os.environ.get("HYPOTHESIS_PROFILE")

    def run(examples: int) -> None:
        given = settings.get_profile(profile or "faults")
        run_state_machine_as_test(
            lambda: ProtocolMachine(conditional_writes=request.param, folder=tmp_path),
            settings=given if profile else settings(given, max_examples=examples),
        )

    return run


@pytest.mark.timeout(3600)
def test_nothing_is_lost_and_nothing_counts_twice_whatever_happens(
    run_machine: Callable[[int], None],
) -> None:
    run_machine(25)


@pytest.mark.slow
@pytest.mark.skipif("HYPOTHESIS_PROFILE" in os.environ, reason="the profile says how many")
@pytest.mark.timeout(3600)
def test_nor_in_ten_times_as_many_examples(run_machine: Callable[[int], None]) -> None:
    run_machine(400)
