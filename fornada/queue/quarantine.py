"""What lay on the queue and is no message, in a bounded list for whoever looks for its author."""

import base64
from typing import Annotated, cast

import redis
from pydantic import AfterValidator, AwareDatetime, Field

from fornada.errors import MessageError
from fornada.records import Record, now
from fornada.redis_server import keys as redis_keys
from fornada.redis_server.address import redis_address
from fornada.redis_server.client import connected, translated
from fornada.settings import Settings

#: Most entries of a queue's list; older ones are dropped.
MAX_ENTRIES = 1000
#: Bytes of each that are kept, from its beginning: enough to recognise who wrote it.
KEPT_BYTES = 1024
#: Most characters of a reason.
_REASON_CHARACTERS = 500


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


class QuarantinedMessage(Record):
    """An entry of the list."""

    at: AwareDatetime
    reason: str = Field(max_length=_REASON_CHARACTERS)
    #: Of one that is too large, what was read.
    size_bytes: int = Field(ge=0)
    #: In base64.
    start: Annotated[str, AfterValidator(_base64)] = Field(max_length=4 * -(-KEPT_BYTES // 3))

    @property
    def text(self) -> str:
        """The first bytes as text; what is no UTF-8 stands as escapes."""
        return base64.b64decode(self.start).decode("utf-8", errors="backslashreplace")


class Quarantine:
    """The list of one queue."""

    def __init__(self, client: "redis.Redis", *, queue: str) -> None:
        """`client` does not decode responses."""
        self._client = client
        self._key = redis_keys.quarantine(queue)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Quarantine":
        """The list of the queue of `settings`; nothing is contacted yet."""
        client = connected(redis_address(settings), decode_responses=False)
        return cls(client, queue=settings.queue)

    @translated
    def add(self, raw: bytes, *, reason: str) -> None:
        """Keep the beginning of `raw`, and why it is no message.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        entry = QuarantinedMessage(
            at=now(),
            reason=reason[:_REASON_CHARACTERS],
            size_bytes=len(raw),
            start=base64.b64encode(raw[:KEPT_BYTES]).decode(),
        )
        with self._client.pipeline(transaction=False) as pipe:
            pipe.lpush(self._key, entry.to_json())
            pipe.ltrim(self._key, 0, MAX_ENTRIES - 1)
            pipe.execute()

    @translated
    def entries(self) -> list[QuarantinedMessage]:
        """What is kept, newest first; what others wrote into the list is left out.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        kept = []
        for raw in self._client.lrange(self._key, 0, MAX_ENTRIES - 1):
            try:
                kept.append(QuarantinedMessage.from_json(cast("bytes", raw), where=self._key))
            except MessageError:
                continue
        return kept

    @translated
    def drop(self) -> int:
        """Forget all of it; return how many entries there were.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        with self._client.pipeline() as pipe:
            pipe.llen(self._key)
            pipe.delete(self._key)
            count, _ = pipe.execute()
        return int(count)
