"""The one Celery task: decode, run, and never raise (a raised task is an acknowledged task)."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery

from fornada import keys
from fornada.errors import MessageError
from fornada.logs import get_logger
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from worker.host.health import EXIT_RESTART
from worker.host.watchdog import Activity

log = get_logger(__name__)


def register(
    app: Celery, *, run: Callable[[Sequence[ShardMessage]], object], activity: Activity
) -> None:
    """Register the task that gives what comes together to `run`, and tells `activity` of it."""

    def run_shard(*args: Any, **kwargs: Any) -> None:
        try:
            messages = decode(args, kwargs)
        except MessageError as exc:
            # A message that cannot be read has no shard to commit an outcome for; the
            # reconciler enqueues a good one if there is one to be had.
            log.error("message dropped", error=str(exc))  # noqa: TRY400 - ours to explain, a stack says no more
            return
        try:
            with activity.running():
                run(messages)
        except MemoryError:
            log.exception("out of memory, ending for a restart", job_id=messages[0].job_id)
            os._exit(EXIT_RESTART)
        except Exception:
            log.exception("shards left to the reconciler", job_id=messages[0].job_id)

    # Shared, it would be registered with every other Celery app of the process too.
    app.task(name=keys.TASK_RUN_SHARD, ignore_result=True, shared=False)(run_shard)


def decode(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[ShardMessage]:
    """The messages among a task's arguments, each of them one.

    Raises:
        MessageError: There is none, there are too many, or one is no message.
    """
    if not 1 <= len(args) <= MAX_BUNDLE or kwargs:
        raise MessageError(
            f"the task {keys.TASK_RUN_SHARD} got {len(args)} arguments and the keywords "
            f"{sorted(kwargs)}; it takes 1 to {MAX_BUNDLE} JSON objects "
            "(docs/reference/messages.md)"
        )
    return [ShardMessage.from_plain(argument, where="message") for argument in args]
