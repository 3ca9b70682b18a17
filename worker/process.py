"""One worker process, from its start to its end."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fornada.coordination.interface import OpenJobs
from fornada.errors import FornadaError
from fornada.events import LOGGED, Events, Listener
from fornada.events.processes import WorkerStarted, WorkerStopped
from fornada.formats.images import DecoderPool
from fornada.memory import release_memory
from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from fornada.settings import Settings
from fornada.tracing.export import export_traces
from fornada.tracing.opening import open_traces
from model_store.safety.trust import names_in
from worker import app as celery_app
from worker import assembly, tasks
from worker.compute.thread_choice import Concurrency
from worker.host.cpu_time import IdleCores
from worker.host.device_loss import DeviceLoss
from worker.host.ending import Ending
from worker.host.health import EXIT_RESTART, HealthFile, worker_name
from worker.host.reporting import Reporter, Work
from worker.host.watchdog import Activity, Watchdog
from worker.shards.service import ShardService
from worker.shards.spans import ShardSpans


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
    spans = ShardSpans(open_traces(settings), queue=settings.queue) if settings.traces else None
    events = Events(events.tell, work.hear, *recorder, *([spans.hear] if spans else []))
    shared = assembly.open_shared(settings, threads=threads, events=events, worker=worker)
    concurrency = Concurrency(
        settings,
        engine=shared.engine,
        idle_share=IdleCores(cores=threads).share,
        events=events,
    )
    shared = replace(shared, events=Events(events.tell, concurrency.hear))
    activity = Activity()
    loss = DeviceLoss(activity=activity, end_process=end_process)
    models = assembly.new_model_cache(shared, loss)
    app = celery_app.create_app(settings, on_message=activity.take, events=events)
    decoders = DecoderPool(threads)
    service = assembly.new_shard_service(shared, models, decoders)
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
    reconciler = assembly.new_reconciler(shared, CelerySender(app), counts_backlog=bool(recorder))
    predict_server = assembly.new_predict_server(shared, models, end_process=end_process)
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


def _untraced(
    service: ShardService,
) -> Callable[[Sequence[ShardMessage], str | None], object]:
    return lambda messages, _traceparent: service.run_bundle(messages)


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
