"""Put messages on the queue through Celery, which is named nowhere else in the producer."""

from collections.abc import Iterable
from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError

from fornada import keys
from fornada.broker import celery_config
from fornada.errors import BrokerError
from fornada.messages import ShardMessage
from fornada.settings import Settings


class Sender(Protocol):
    """Puts messages on the queue."""

    def enqueue(self, messages: Iterable[ShardMessage]) -> None:
        """Enqueue `messages`, in order.

        Raises:
            BrokerError: Some may be on the queue, and some not.
        """


class CelerySender:
    """`Sender` through Celery: the task is called by name, no task module is imported."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    @classmethod
    def from_settings(cls, settings: Settings) -> "CelerySender":
        """A sender to the queue that the settings name; nothing is contacted yet."""
        app = Celery("fornada", set_as_current=False)
        app.conf.update(celery_config(settings))
        return cls(app)

    def enqueue(self, messages: Iterable[ShardMessage]) -> None:
        """Enqueue `messages`, in order.

        Raises:
            BrokerError: Some may be on the queue, and some not.
        """
        try:
            for message in messages:
                self._app.send_task(keys.TASK_RUN_SHARD, args=[message.model_dump(mode="json")])
        except OperationalError as exc:
            raise BrokerError(
                f"the queue cannot be reached ({exc}); check FORNADA_REDIS_URL and that the server "
                "runs (`fornada up` starts one)"
            ) from exc
