"""Compute attempts: fetch, predict and store, in this process or an isolated one."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from fornada.events import Events, ShardDied, ShardIsolated, Stage, StageEnded
from fornada.formats.images import DecoderPool
from fornada.formats.items import item_size_bytes
from fornada.formats.tensor_file import Column
from fornada.jobs.items import Items, Placed
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_files import ImageFiles
from fornada.jobs.shard_items import Fetched, decode_items, fetch_items
from fornada.jobs.store import JobStore
from fornada.records import JOB_VERSION, ObjectRef, now
from fornada.settings import Settings
from worker.compute.model_cache import ModelCache, UsedModel
from worker.compute.together import PredictGroups, call_sizes, predict_together
from worker.host.cpu_time import CpuTime
from worker.host.deadlines import Deadlines
from worker.shards.blocks import block_items, predict_blocks
from worker.shards.isolation import IsolatedProcess, bisect
from worker.shards.job_check import check_says_what_its_model_says
from worker.shards.meter import Meter
from worker.shards.phases import Begun


class Computation:
    """Turns attempts into outcomes; commits nothing."""

    def __init__(
        self,
        settings: Settings,
        *,
        worker: str,
        jobs: JobStore,
        models: ModelCache,
        deadlines: Deadlines,
        isolate: Callable[[JobManifest, int], IsolatedProcess],
        events: Events,
        cpu_time: CpuTime,
        decoders: DecoderPool | None = None,
    ) -> None:
        """Compute with these parts.

        Args:
            settings: How long a shard may take, and what a CPU hour costs.
            worker: Its name, for outcomes.
            jobs: Where inputs and results are.
            models: The models that are loaded.
            deadlines: Ends the process if a shard hangs.
            isolate: Starts a process for a shard that may have killed others.
            events: Hears what happens.
            cpu_time: Measures what shards take.
            decoders: Its threads decode images; without it, the thread that computes does.
        """
        self._jobs = jobs
        self._decoders = decoders
        self._models = models
        self._deadlines = deadlines
        self._isolate = isolate
        self._worker = worker
        self._shard_deadline_s = settings.shard_deadline_s
        self._events = events
        self._cpu_time = cpu_time
        self._price_per_cpu_hour = settings.price_per_cpu_hour

    def run(self, attempt: Begun) -> ShardOutcome:
        """Compute the shard, store its outputs, and return the outcome to commit.

        Raises:
            InputError, IntegrityError, ObjectNotFoundError: The shard is at fault.
            ModelDeclinedError: This worker may not or cannot load the model.
            ModelError: The model is at fault.
            JobRefusedError: The job's manifest is at fault.
            ProcessDiedError: The shard killed isolated processes too.
            FornadaError: Another attempt may succeed.
        """
        if attempt.number > attempt.manifest.max_attempts:
            # It may have killed that many workers; ours stays out of it.
            return self._compute_isolated(attempt)
        return self.run_together([attempt])[0]

    def run_together(self, attempts: Sequence[Begun]) -> list[ShardOutcome]:
        """Compute a shard, or small ones of one model in one call of its batcher.

        Raises:
            Exception: One of them, or the model, is at fault; computed alone, each says which.
        """
        with (
            self._deadlines.within(self._shard_deadline_s),
            self._cpu_time.at_work() as cpu_s,
            self._models.use(attempts[0].manifest.model) as model,
            model.batcher.expecting() as predict_groups,
        ):
            for attempt in attempts:
                check_says_what_its_model_says(attempt.manifest, model.manifest)
            clock = _Stopwatch(self._events, attempts)
            meter = self._meter(attempts, cpu_s)
            fetched = [
                fetch_items(a.manifest, a.spec, jobs=self._jobs, on_read=meter.reader(number))
                for number, a in enumerate(attempts)
            ]
            times = {"fetch_s": clock.lap(Stage.FETCH)}
            found = self._in_blocks(attempts, fetched, model, clock, times)
            if found is None:
                predict = partial(predict_groups, note_begin=clock.note_wait)
                found = self._at_once(attempts, fetched, predict, clock, times)
            times["predict_s"] = clock.waited_s + clock.lap(Stage.PREDICT)
            placed = [each.placed for each in found]
            stored = [
                self._put_outputs(attempt, columns)
                for attempt, (columns, _) in zip(attempts, placed, strict=True)
            ]
            if len(attempts) == 1:
                # The data of a bundle goes into its outcomes.
                times["upload_s"] = clock.lap(Stage.PUT)
            return [
                self._ok(
                    attempt,
                    data=data,
                    item_errors=each.placed.errors,
                    engine=model.engine,
                    figures=figures,
                    **each.sizes,
                    # Those of the whole bundle.
                    **_recorded(attempt, times, each.orientations_ignored),
                )
                for attempt, data, each, figures in zip(
                    attempts, stored, found, meter.figures(placed, stored), strict=True
                )
            ]

    def _at_once(
        self,
        attempts: Sequence[Begun],
        fetched: Sequence[Fetched],
        predict: PredictGroups,
        clock: "_Stopwatch",
        times: dict[str, float],
    ) -> list["_Found"]:
        """Decode and predict all items of the attempts."""
        decoded = [
            decode_items(each, attempt.manifest, pool=self._decoders)
            for each, attempt in zip(fetched, attempts, strict=True)
        ]
        if not all(isinstance(each, Items) for each in fetched):
            times["decode_s"] = clock.lap(Stage.DECODE)
        predicted = predict_together(predict, [each.items for each in decoded])
        return [
            _Found(
                each.items.placed(
                    outputs, gives=attempt.manifest.gives, item_count=attempt.item_count
                ),
                call_sizes(each.items, outputs, takes=attempt.manifest.takes),
                each.orientations_ignored,
            )
            for each, outputs, attempt in zip(decoded, predicted, attempts, strict=True)
        ]

    def _in_blocks(
        self,
        attempts: Sequence[Begun],
        fetched: Sequence[Fetched],
        model: UsedModel,
        clock: "_Stopwatch",
        times: dict[str, float],
    ) -> list["_Found"] | None:
        """Predict a shard of photographs while it is decoded; `None` if it is none, or small."""
        files, manifest, pool = fetched[0], attempts[0].manifest, self._decoders
        if len(attempts) > 1 or pool is None or not isinstance(files, ImageFiles):
            return None
        taken = manifest.input
        if taken.is_open:
            return None
        tile_items = model.batcher.rows_for((taken.fixed_shape,))
        item_count = block_items(tile_items, item_size_bytes(taken.fixed_shape, taken.numpy_dtype))
        if item_count >= len(files.contents):
            return None
        found = predict_blocks(
            lambda: files.blocks(taken, pool=pool, item_count=item_count),
            predict=model.batcher.predict_groups,
            gives=manifest.gives,
        )
        times["decode_s"] = clock.lap(Stage.DECODE, took_s=found.decode_s)
        sizes = {"tile_items": found.tile_items}
        return [_Found(found.placed, sizes, found.orientations_ignored)]

    def _meter(self, attempts: Sequence[Begun], cpu_s: Callable[[], float]) -> Meter:
        return Meter(attempts, cpu_s=cpu_s, price_per_cpu_hour=self._price_per_cpu_hour)

    def _compute_isolated(self, attempt: Begun) -> ShardOutcome:
        """Predict in a process of its own, and halve what kills it, down to the item."""
        manifest, item_count, run = attempt.manifest, attempt.item_count, attempt.run
        self._jobs.note_isolated(run.job_id, run.shard, run.attempt)
        self._events.tell(ShardIsolated(job_id=run.job_id, shard=run.shard))
        with self._cpu_time.at_work() as cpu_s:
            meter = self._meter([attempt], cpu_s)
            with self._isolate(manifest, run.shard) as process:
                clock = _Stopwatch(self._events, [attempt])
                placed = bisect(item_count, process.predict, gives=manifest.gives)
                predict_s = clock.lap(Stage.PREDICT)
                data = self._put_outputs(attempt, placed.columns)
                upload_s = clock.lap(Stage.PUT)
            # What the process took counts once it has ended.
            meter.reader(0)(process.bytes_in)
            (figures,) = meter.figures([placed], [data])
        return self._ok(
            attempt,
            data=data,
            item_errors=placed.errors,
            isolated=True,
            engine=process.engine,
            figures=figures,
            **process.call_sizes,
            predict_s=predict_s,
            upload_s=upload_s,
        )

    def _ok(self, attempt: Begun, **found: Any) -> ShardOutcome:
        return ShardOutcome(
            status="ok",
            item_count=attempt.item_count,
            committed_at=now(),
            **attempt.identity(self._worker),
            **found,
        )

    def _put_outputs(self, attempt: Begun, columns: Sequence[Column]) -> ObjectRef:
        run = attempt.run
        return self._jobs.put_outputs(attempt.manifest, run.shard, run.attempt, columns)

    def dead(self, attempt: Begun, reason: str, detail: str) -> ShardOutcome:
        """The outcome of a shard that will not be tried again."""
        run = attempt.run
        self._events.tell(ShardDied(job_id=run.job_id, shard=run.shard, reason=reason, why=detail))
        return ShardOutcome(
            status="dead",
            item_count=attempt.item_count,
            reason=reason,
            detail=detail[:2000],
            committed_at=now(),
            **attempt.identity(self._worker),
        )


class _Found(NamedTuple):
    """What an attempt's items gave."""

    placed: Placed
    #: As `call_sizes`.
    sizes: dict[str, Any]
    orientations_ignored: int


def _recorded(
    attempt: Begun, times: Mapping[str, float], orientations_ignored: int
) -> dict[str, float | int | None]:
    """What the version of the attempt's outcome has room for."""
    if attempt.manifest.schema_version < JOB_VERSION:
        return {name: duration_s for name, duration_s in times.items() if name != "decode_s"}
    return {**times, "orientations_ignored": orientations_ignored or None}


class _Stopwatch:
    """Times the stages of attempts that are computed together, and reports them as events."""

    def __init__(self, events: Events, attempts: Sequence[Begun]) -> None:
        self._events = events
        self._shard_count = len(attempts)
        self._item_count = sum(attempt.item_count for attempt in attempts)
        self._last_s = time.monotonic()
        #: How long they waited for a call.
        self.waited_s = 0.0

    def note_wait(self, until_s: float) -> None:
        """Note that they waited for a call since the last lap."""
        self.waited_s = self.lap(Stage.WAIT, until_s=until_s)

    def lap(
        self, stage: Stage, *, until_s: float | None = None, took_s: float | None = None
    ) -> float:
        """Seconds since the last lap, which `stage` took; it ended now, or at `until_s`.

        Of stages that overlap, one counts for `took_s`, and the next for the rest.
        """
        now_s = time.monotonic()
        if took_s is not None:
            until_s = self._last_s + took_s
        last_s, self._last_s = self._last_s, until_s or now_s
        duration_s = self._last_s - last_s
        self._events.tell(
            StageEnded(
                stage=stage,
                duration_s=duration_s,
                shard_count=self._shard_count,
                item_count=self._item_count,
                ago_s=now_s - self._last_s,
            )
        )
        return duration_s
