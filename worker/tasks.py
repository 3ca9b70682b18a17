"""The one Celery task: decode, run, and never raise: Celery acknowledges a task that raised."""

from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery

from fornada import keys
from fornada.errors import MessageError
from fornada.events import SILENT, Events, MessageDropped
from fornada.logs import get_logger
from fornada.queue.envelope import messages_of
from fornada.queue.message import ShardMessage
from fornada.tracing.traceparent import HEADER
from worker.host.watchdog import Activity

log = get_logger(__name__)


def register(
    app: Celery,
    *,
    run: Callable[[Sequence[ShardMessage], str | None], object],
    activity: Activity,
    end_process: Callable[[], object],
    events: Events = SILENT,
) -> None:
    """Register the task that has messages run, and counts them in `activity`.

    Args:
        app: The worker's app.
        run: Runs a bundle of messages, which a span of this `traceparent` submitted.
        activity: Knows what is running.
        end_process: Ends the process for a restart.
        events: Hears of what is no message.
    """

    def run_shard(task: Any, *args: Any, **kwargs: Any) -> None:
        try:
            messages = messages_of(args, kwargs)
        except MessageError as exc:
            # The shard is unknown; if it is open, the reconciler enqueues it again.
            events.tell(MessageDropped(error=str(exc)))
            return
        try:
            with activity.running():
                # The guard let it through.
                run(messages, getattr(task.request, HEADER, None))
        except MemoryError:
            log.exception("out of memory, ending for a restart", job_id=messages[0].job_id)
            end_process()
        except Exception:
            log.exception("shards left to the reconciler", job_id=messages[0].job_id)

    # A shared task would be registered with every other Celery app of the process too.
    options = {"name": keys.TASK_RUN_SHARD, "ignore_result": True, "shared": False}
    app.task(bind=True, **options)(run_shard)
    # Celery's own tasks run any other one, any number of times.
    app.finalize()
    for name in set(app.tasks) - {keys.TASK_RUN_SHARD}:
        app.tasks.unregister(name)
