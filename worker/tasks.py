"""The one Celery task: decode, run, and never raise: Celery acknowledges a task that raised."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery

from fornada import keys
from fornada.errors import MessageError
from fornada.events import SILENT, Events, MessageDropped
from fornada.logs import get_logger
from fornada.queue.envelope import messages_of
from fornada.queue.message import ShardMessage
from worker.host.health import EXIT_RESTART
from worker.host.watchdog import Activity

log = get_logger(__name__)


def register(
    app: Celery,
    *,
    run: Callable[[Sequence[ShardMessage]], object],
    activity: Activity,
    events: Events = SILENT,
) -> None:
    """Register the task that passes a bundle of messages to `run`, and counts it in `activity`."""

    def run_shard(*args: Any, **kwargs: Any) -> None:
        try:
            messages = messages_of(args, kwargs)
        except MessageError as exc:
            # The shard is unknown; if it is open, the reconciler enqueues it again.
            events.tell(MessageDropped(error=str(exc)))
            return
        try:
            with activity.running():
                run(messages)
        except MemoryError:
            log.exception("out of memory, ending for a restart", job_id=messages[0].job_id)
            os._exit(EXIT_RESTART)
        except Exception:
            log.exception("shards left to the reconciler", job_id=messages[0].job_id)

    # A shared task would be registered with every other Celery app of the process too.
    app.task(name=keys.TASK_RUN_SHARD, ignore_result=True, shared=False)(run_shard)
    # Celery's own tasks run any other one, any number of times.
    app.finalize()
    for name in set(app.tasks) - {keys.TASK_RUN_SHARD}:
        app.tasks.unregister(name)
