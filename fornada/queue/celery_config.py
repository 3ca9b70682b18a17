"""Celery's configuration, the same for producers and workers, with reasons."""

from typing import Any

from fornada.queue.redis_channel import ADDRESS, AddressedTransport
from fornada.redis_server.address import redis_address
from fornada.settings import Settings

#: When the message of a dead worker returns to the queue. It only tidies up: the reconciler gives
#: the shard to another worker long before.
VISIBILITY_TIMEOUT_S = 3600


def celery_config(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for `settings`.

    Raises:
        ConfigError: As `redis_address`.
    """
    address = redis_address(settings)
    return {
        # Only for logs; connections come from the address.
        "broker_url": address.label,
        "broker_transport": AddressedTransport,
        "task_default_queue": settings.queue,
        # JSON alone is accepted: a pickled message is code.
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # Results are objects in the store; Celery's would expire and be lost with Redis.
        "result_backend": None,
        "task_ignore_result": True,
        # A shard is acknowledged after its outcome is committed.
        "task_acks_late": True,
        # `False` would delete the message of a failed task; no exception leaves ours anyway.
        "task_acks_on_failure": True,
        # The reconciler requeues with a count and a delay; `True` is an endless hot loop.
        "task_reject_on_worker_lost": False,
        # A worker holds only what it works on; others can begin the rest.
        "worker_prefetch_multiplier": 1,
        # Threads, never prefork: TensorFlow hangs if it was initialised before a fork.
        "worker_pool": "threads",
        # Unused, and Redis traffic for every message.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        # A lost connection returns no message to Redis; cancelling would waste the work.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_redirect_stdouts": False,
        # A worker may start before its broker and outlives any outage.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Without it, a full Redis ends the worker.
        "broker_channel_error_retry": True,
        # A caller waits meanwhile, so few and short.
        "task_publish_retry_policy": {
            "max_retries": 3,
            "interval_start": 0.1,
            "interval_step": 0.3,
            "interval_max": 1,
        },
        "broker_transport_options": {
            ADDRESS: address,
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            # A worker killed while restoring messages must not block the others for 5 minutes.
            "unacked_mutex_expire": 30,
            # The default waits forever on a dead connection.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 15,
        },
    }
