"""One worker process: everything it is made of, put together and run."""

import os

from fornada.calls.redis import RedisCallChannel
from fornada.coordination.interface import Coordination
from fornada.coordination.redis import RedisCoordination
from fornada.errors import FornadaError
from fornada.jobs.manifest_cache import Manifests
from fornada.jobs.reconciler import Reconciler
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.settings import Settings
from fornada.storage.opening import open_store
from model_store.engines.catalog import open_engine
from model_store.engines.interface import Engine
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust, names_in
from model_store.store import ModelStore
from worker import app as celery_app
from worker import tasks
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.direct_calls import PredictServer
from worker.compute.model_cache import ModelCache
from worker.compute.predictor import ChooseTile, EnginePredictor, Predictor
from worker.compute.thread_choice import Concurrency
from worker.compute.tile_choice import tile_chooser
from worker.host.deadlines import Deadlines
from worker.host.health import EXIT_RESTART, HealthFile, worker_name
from worker.host.watchdog import Activity, Watchdog
from worker.shards.isolation import IsolatedProcess, isolated_command
from worker.shards.service import ShardService

log = get_logger(__name__)


def run_process(settings: Settings, *, threads: int) -> int:
    """Consume until a signal ends it; return the exit code.

    Args:
        settings: What the environment said.
        threads: Cores that predict may use.
    """
    # Before the first message: importing TensorFlow takes seconds.
    engine = open_engine(settings.engine, threads=threads)
    name = worker_name()
    objects = open_store(settings)
    coordination = RedisCoordination.from_settings(settings)
    jobs = JobStore(objects=objects, decisions=coordination)
    manifests = Manifests(jobs=jobs)
    stored = ModelStore(objects=objects, trust=Trust.from_settings(settings))
    choose_tile = tile_chooser(settings, objects=objects, decide=coordination.decide, engine=engine)
    concurrency = Concurrency(settings, objects=objects, streams=engine.streams)
    models = _model_cache(settings, stored, engine, choose_tile, concurrency)
    deadlines = Deadlines()
    service = ShardService(
        jobs=jobs,
        manifests=manifests,
        models=models,
        coordination=coordination,
        deadlines=deadlines,
        isolate=lambda job_id, shard: IsolatedProcess(
            isolated_command(job_id, shard), timeout_s=settings.shard_deadline_s
        ),
        worker=name,
        lease_s=settings.lease_s,
        shard_deadline_s=settings.shard_deadline_s,
    )
    app = celery_app.create_app(settings)
    activity = Activity()
    tasks.register(app, run=service.run_bundle, activity=activity)
    watchdog = Watchdog(
        file=HealthFile(settings.cache_dir, name=name),
        activity=activity,
        queue_length=lambda: _queue_length(coordination, settings.queue),
        end_process=lambda: os._exit(EXIT_RESTART),
    )
    celery_app.add_heartbeat(app, beat=watchdog.beat, expect_stop=watchdog.expect_stop)
    celery_app.add_growth(app, concurrency)
    reconciler = Reconciler(
        jobs=jobs,
        manifests=manifests,
        coordination=coordination,
        enqueue=lambda messages: celery_app.enqueue(app, messages),
        holder=name,
        queue=settings.queue,
        interval_s=settings.reconcile_interval_s,
        requeue_after_s=settings.requeue_after_s,
        enqueue_window=settings.enqueue_window,
        lease_s=settings.lease_s,
    )
    predict_server = PredictServer(
        channel=RedisCallChannel.from_settings(settings),
        queue=settings.queue,
        models=models,
        deadlines=deadlines,
        deadline_s=settings.shard_deadline_s,
        end_process=lambda: os._exit(EXIT_RESTART),
    )
    models.warm(names_in(settings.warm_models))
    watchdog.start()
    reconciler.start()
    predict_server.start()
    log.info("worker starts", worker=name, threads=threads, engine=engine.name)
    try:
        return celery_app.consume(
            app, settings, name=name, threads=concurrency.threads, on_message=activity.take
        )
    finally:
        predict_server.stop()
        reconciler.stop()
        watchdog.stop()
        models.close()
        log.info("worker stopped", worker=name)


def _model_cache(
    settings: Settings,
    models: ModelStore,
    engine: Engine,
    choose_tile: ChooseTile,
    concurrency: Concurrency,
) -> ModelCache:
    def build(manifest: ModelManifest, artifact: bytes) -> Predictor:
        predictor = EnginePredictor(
            manifest, artifact, engine=engine, models=models, choose_tile=choose_tile
        )
        concurrency.fit(manifest, predictor)
        return predictor

    return ModelCache(
        models=models,
        build=build,
        disk=ArtifactCache(settings.cache_dir),
        max_models=settings.max_loaded_models,
        max_bytes=settings.model_memory_bytes,
        max_latency_s=settings.max_latency_s,
    )


def _queue_length(coordination: Coordination, queue: str) -> int | None:
    try:
        return coordination.queue_length(queue)
    except FornadaError:
        return None
