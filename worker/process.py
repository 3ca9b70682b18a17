"""One worker process: assembled from its parts, and run."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fornada.calls.frames import MAX_CALL_FRAME_BYTES
from fornada.calls.redis import RedisCallChannel
from fornada.coordination.interface import OpenJobs
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.signed import SignedDecisions
from fornada.errors import BrokerError, FornadaError
from fornada.events import LOGGED, Events, Listener, TileHalved
from fornada.events.processes import WorkerStarted, WorkerStopped
from fornada.formats.images import DecoderPool
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.backlog_watch import BacklogWatch, Host, WatchedHost
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.memory import release_memory
from fornada.queue.celery_queue import CelerySender
from fornada.queue.interface import Sender
from fornada.queue.message import ShardMessage
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.storage.reporting import ReportingStore
from fornada.tracing.export import export_traces
from fornada.tracing.opening import open_traces
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes
from model_store.engines.catalog import open_engine
from model_store.engines.interface import Engine
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust, names_in
from model_store.store import ModelStore
from worker import app as celery_app
from worker import tasks
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.direct_calls import PredictServer
from worker.compute.first_load import FirstLoads
from worker.compute.model_cache import ModelCache
from worker.compute.predictor import EnginePredictor, Predictor
from worker.compute.thread_choice import Concurrency
from worker.compute.tile_choice import TileChoice, calibrations
from worker.host.cpu_time import CpuTime
from worker.host.deadlines import Deadlines
from worker.host.device_loss import DeviceLoss
from worker.host.ending import Ending
from worker.host.health import EXIT_RESTART, HealthFile, worker_name
from worker.host.reporting import Reporter, Work
from worker.host.watchdog import Activity, Watchdog
from worker.shards.isolation import IsolatedProcess, isolated_command
from worker.shards.service import ShardService
from worker.shards.spans import ShardSpans


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What the parts of a worker share."""

    settings: Settings
    worker: str
    events: Events
    engine: Engine
    objects: ObjectStore
    coordination: RedisCoordination
    decisions: SignedDecisions
    deployment_keys: DeploymentKeys
    jobs: JobStore
    manifests: Manifests
    deadlines: Deadlines
    cpu_time: CpuTime


def run_process(settings: Settings, *, threads: int, events: Events = LOGGED) -> int:
    """Consume until a signal ends it; return the exit code.

    Args:
        settings: From the environment.
        threads: Cores that predict may use.
        events: Hears what happens.
    """
    worker = worker_name()
    end_traces = export_traces(settings, service="fornada-worker", instance=worker)

    def end_process() -> None:
        """End at once; the supervisor starts another."""
        end_traces()
        os._exit(EXIT_RESTART)

    threading.excepthook = partial(_end_for_want_of_memory, end_process=end_process)
    work = Work()
    recorder = _recorder(settings)
    events = Events(events.tell, work.hear, *recorder)
    spans = ShardSpans(open_traces(settings), queue=settings.queue) if settings.traces else None
    events = events if spans is None else Events(events.tell, spans.hear)
    shared = _open(settings, threads=threads, events=events, worker=worker)
    concurrency = Concurrency(
        settings, objects=shared.objects, streams=shared.engine.streams, events=events
    )
    activity = Activity()
    loss = DeviceLoss(activity=activity, end_process=end_process)
    models = _model_cache(shared, concurrency, loss)
    app = celery_app.create_app(settings, on_message=activity.take, events=events)
    decoders = DecoderPool(threads)
    service = _service(shared, models, decoders)
    tasks.register(
        app,
        run=_untraced(service) if spans is None else spans.around(service.run_bundle),
        activity=activity,
        end_process=end_process,
        events=events,
    )
    health_file = HealthFile(settings.cache_dir, name=worker)
    watchdog = Watchdog(
        file=health_file,
        activity=activity,
        queue_length=lambda: _queue_length(shared.coordination, settings.queue),
        end_process=end_process,
        # What calls took would be kept for the next ones: 150 MB of a MobileNet.
        on_idle=partial(release_memory, collect=False),
    )
    ending = Ending(
        at_work=lambda: activity.running_count > 0 or shared.deadlines.are_running,
        end_process=lambda: _end_as_told(health_file, end_traces),
    )

    def expect_stop() -> None:
        watchdog.expect_stop()
        ending.begin()

    celery_app.add_heartbeat(app, beat=watchdog.beat, expect_stop=expect_stop)
    celery_app.add_growth(app, concurrency)
    reconciler = _reconciler(shared, CelerySender(app), counts_backlog=bool(recorder))
    predict_server = _predict_server(shared, models, end_process=end_process)
    reporter = Reporter(
        shared.coordination,
        work,
        name=worker,
        queue=settings.queue,
        engine=shared.engine.name,
        threads=lambda: concurrency.threads,
        running_count=lambda: activity.running_count,
    )
    models.warm(names_in(settings.warm_models))
    watchdog.start()
    reconciler.start()
    predict_server.start()
    reporter.start()
    events.tell(WorkerStarted(worker=worker, threads=threads, engine=shared.engine.name))
    try:
        return celery_app.consume(app, name=worker, threads=concurrency.threads)
    finally:
        reporter.stop()
        predict_server.stop()
        reconciler.stop()
        watchdog.stop()
        decoders.shutdown()
        models.close()
        events.tell(WorkerStopped(worker=worker))
        end_traces()


def _recorder(settings: Settings) -> list[Listener]:
    """Counts what happens, for the supervisor to serve, if metrics are asked for."""
    if settings.metrics_port is None:
        return []
    from fornada.metrics.instrument import Role  # noqa: PLC0415 - optional package
    from fornada.metrics.recorder import Recorder  # noqa: PLC0415 - as above
    from fornada.metrics.slots import slot_registry  # noqa: PLC0415 - as above

    registry = slot_registry(os.environ)
    return [] if registry is None else [Recorder(Role.WORKER, registry=registry).hear]


def _open(settings: Settings, *, threads: int, events: Events, worker: str) -> _Shared:
    # Before the first message: importing TensorFlow takes seconds.
    engine = open_engine(settings.engine, threads=threads)
    objects = ReportingStore(open_store(settings), events=events)
    coordination = RedisCoordination.from_settings(settings)
    # One that cannot be reached yet is waited for, as at any time.
    with contextlib.suppress(BrokerError):
        coordination.refuse_cluster()
    deployment_keys = DeploymentKeys.from_settings(settings)
    decisions = SignedDecisions(coordination, deployment_keys=deployment_keys)
    prefixes = InputPrefixes.from_settings(settings)
    jobs = JobStore(objects=objects, decisions=decisions, prefixes=prefixes)
    return _Shared(
        settings=settings,
        worker=worker,
        events=events,
        engine=engine,
        objects=objects,
        coordination=coordination,
        decisions=decisions,
        deployment_keys=deployment_keys,
        jobs=jobs,
        manifests=Manifests(jobs=jobs),
        deadlines=Deadlines(),
        cpu_time=CpuTime(),
    )


def _model_cache(shared: _Shared, concurrency: Concurrency, loss: DeviceLoss) -> ModelCache:
    settings, events = shared.settings, shared.events
    models = ModelStore(objects=shared.objects, trust=Trust.from_settings(settings))
    tiles = TileChoice(
        settings,
        kept=calibrations(
            objects=shared.objects,
            decide=shared.decisions.decide,
            engine=shared.engine,
        ),
    )

    def build(manifest: ModelManifest, artifact: Path, most_items: int | None) -> Predictor:
        predictor = EnginePredictor(
            manifest,
            artifact,
            engine=shared.engine,
            models=models,
            choose_tile=tiles.chooser(most_items),
            on_halved=lambda tile_items, why: events.tell(
                TileHalved(model=manifest.pin, tile_items=tile_items, why=why)
            ),
        )
        concurrency.fit(manifest, predictor)
        return predictor

    disk = ArtifactCache(settings.cache_dir)
    return ModelCache(
        settings,
        models=models,
        build=build,
        disk=disk,
        first_load=FirstLoads(
            settings, models=models, disk=disk, known_items=tiles.known_items
        ).check,
        forget=shared.engine.forget,
        on_lost=loss.note,
        events=events,
    )


def _service(shared: _Shared, models: ModelCache, decoders: DecoderPool) -> ShardService:
    deadline_s = shared.settings.shard_deadline_s
    return ShardService(
        shared.settings,
        worker=shared.worker,
        jobs=shared.jobs,
        manifests=shared.manifests,
        models=models,
        leases=shared.coordination,
        endings=Endings(
            jobs=shared.jobs,
            open_jobs=shared.coordination,
            holder=shared.worker,
            lease_s=shared.settings.lease_s,
            events=shared.events,
        ),
        deadlines=shared.deadlines,
        isolate=lambda manifest, shard: IsolatedProcess(
            isolated_command(manifest.job_id, shard), gives=manifest.gives, timeout_s=deadline_s
        ),
        deployment_keys=shared.deployment_keys,
        events=shared.events,
        decoders=decoders,
        cpu_time=shared.cpu_time,
    )


def _reconciler(shared: _Shared, sender: Sender, *, counts_backlog: bool) -> Host:
    reconciler = Reconciler(
        jobs=shared.jobs,
        manifests=shared.manifests,
        recovery=shared.coordination,
        sender=sender,
        check_bucket=BucketCheck.from_settings(
            shared.settings, objects=shared.objects, coordination=shared.coordination
        ).check,
        settings=shared.settings,
        holder=shared.worker,
        deployment_keys=shared.deployment_keys,
        events=shared.events,
    )
    if not counts_backlog:
        return reconciler
    watch = BacklogWatch(
        queue=shared.settings.queue,
        is_leading=lambda: reconciler.is_leading,
        jobs=shared.jobs,
        open_jobs=shared.coordination,
        sender=sender,
        events=shared.events,
    )
    return WatchedHost(reconciler, watch)


def _untraced(
    service: ShardService,
) -> Callable[[Sequence[ShardMessage], str | None], object]:
    return lambda messages, _traceparent: service.run_bundle(messages)


def _predict_server(
    shared: _Shared, models: ModelCache, *, end_process: Callable[[], None]
) -> PredictServer:
    return PredictServer(
        channel=RedisCallChannel.from_settings(shared.settings, most_bytes=MAX_CALL_FRAME_BYTES),
        queue=shared.settings.queue,
        models=models,
        deadlines=shared.deadlines,
        deadline_s=shared.settings.shard_deadline_s,
        end_process=end_process,
        deployment_keys=shared.deployment_keys,
        events=shared.events,
        cpu_time=shared.cpu_time,
    )


def _end_for_want_of_memory(
    died: threading.ExceptHookArgs, *, end_process: Callable[[], None]
) -> None:
    """End the process with a thread that died of a lack of memory, which only a restart cures."""
    threading.__excepthook__(died)
    if isinstance(died.exc_value, MemoryError):
        end_process()


def _end_as_told(health_file: HealthFile, end_traces: Callable[[], object]) -> None:
    """End at once, as one that ended by itself."""
    health_file.remove()
    end_traces()
    os._exit(0)


def _queue_length(coordination: OpenJobs, queue: str) -> int | None:
    try:
        return coordination.queue_length(queue)
    except FornadaError:
        return None
