"""The parts of a worker process, put together."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fornada.calls.frames import MAX_CALL_FRAME_BYTES
from fornada.calls.redis import RedisCallChannel
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.signed import SignedDecisions
from fornada.errors import BrokerError
from fornada.events import Events, TileHalved
from fornada.formats.images import DecoderPool
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.backlog_watch import BacklogWatch, Host, WatchedHost
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.queue.interface import Sender
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.storage.reporting import ReportingStore
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes
from model_store.engines.catalog import open_engine
from model_store.engines.interface import Engine
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from worker.calls.server import PredictServer
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.first_load import FirstLoads
from worker.compute.model_cache import ModelCache
from worker.compute.predictor import EnginePredictor, Predictor
from worker.compute.tile_choice import TileChoice
from worker.host.cpu_time import CpuTime
from worker.host.deadlines import Deadlines
from worker.host.device_loss import DeviceLoss
from worker.shards.isolation import IsolatedProcess, isolated_command
from worker.shards.service import ShardService


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What the parts of a worker process share."""

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


def open_shared(settings: Settings, *, threads: int, events: Events, worker: str) -> Shared:
    """Open the engine, the store and Redis.

    Args:
        settings: From the environment.
        threads: Cores that predict may use.
        events: Hears what happens.
        worker: The process's name.

    Raises:
        FornadaError: The settings or the engine cannot be used here.
    """
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
    return Shared(
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


def new_model_cache(shared: Shared, loss: DeviceLoss) -> ModelCache:
    """The models, each built on the engine in calls of the rows chosen for it.

    Args:
        shared: What they are built with.
        loss: Hears when the engine's device is lost.
    """
    settings, events = shared.settings, shared.events
    models = ModelStore(objects=shared.objects, trust=Trust.from_settings(settings))
    tiles = TileChoice(
        settings,
        objects=shared.objects,
        decide=shared.decisions.decide,
        engine=shared.engine,
    )

    def build(manifest: ModelManifest, artifact: Path, most_items: int | None) -> Predictor:
        return EnginePredictor(
            manifest,
            artifact,
            engine=shared.engine,
            models=models,
            choose_tile=partial(tiles.choose, most_items=most_items),
            on_halved=lambda tile_items, why: events.tell(
                TileHalved(model=manifest.pin, tile_items=tile_items, why=why)
            ),
        )

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


def new_shard_service(shared: Shared, models: ModelCache, decoders: DecoderPool) -> ShardService:
    """What runs shards; their images are decoded in `decoders`."""
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


def new_reconciler(shared: Shared, sender: Sender, *, counts_backlog: bool) -> Host:
    """What keeps the queue's jobs going, and counts its backlog if metrics want it."""
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


def new_predict_server(
    shared: Shared, models: ModelCache, *, end_process: Callable[[], None]
) -> PredictServer:
    """What answers calls without a job; one that takes too long ends the process."""
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
