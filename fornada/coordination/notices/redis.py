"""`Notices` through Redis's channels: one connection and thread for a process's listeners."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import redis

from fornada.coordination.notices.interface import TOLD, Hear, Notice
from fornada.logs import get_logger
from fornada.redis_server import keys as redis_keys
from fornada.repeated import Repeated

log = get_logger(__name__)

#: Longest notice that is read whole.
MOST_NOTICE_BYTES = 64
#: A reader that nobody needs for this long ends, with its connection.
_IDLE_S = 10.0
#: Time between two tries to connect: grows from the first to the last.
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 15.0


class RedisNotices:
    """`Notices` from a Redis or Valkey."""

    def __init__(self, *, client: "redis.Redis", listening: "redis.Redis") -> None:
        """Hear what is told on a server.

        Args:
            client: Speaks to the server.
            listening: The same, and reads `MOST_NOTICE_BYTES` of a notice.
        """
        self._redis: Any = client
        self._notices_from: Any = listening
        #: Guards all that follows.
        self._listeners_lock = threading.Lock()
        self._hearers: dict[str, tuple[Hear, ...]] = {}
        self._reader: _Reader | None = None

    def listen(self, job_id: str, hear: Hear) -> Callable[[], None]:
        with self._listeners_lock:
            self._hearers[job_id] = (*self._hearers.get(job_id, ()), hear)
            reader = self._reader
            # None after a fork either, which takes no threads along.
            if reader is None or not reader.is_alive():
                reader = self._reader = _Reader(self)
                reader.start()
            first = reader.join_channel(job_id)
        if first is not None:
            hear(first)
        if first is not Notice.LISTENING:
            # Whatever is wrong, the reader meets it too.
            with contextlib.suppress(redis.RedisError):
                self._redis.publish(reader.own_channel, "")
        return partial(self._stop_hearing, job_id, hear)

    def _stop_hearing(self, job_id: str, hear: Hear) -> None:
        with self._listeners_lock:
            left = list(self._hearers.get(job_id, ()))
            with contextlib.suppress(ValueError):
                left.remove(hear)
            if left:
                self._hearers[job_id] = tuple(left)
                return
            self._hearers.pop(job_id, None)
            if self._reader is not None:
                self._reader.leave_channel(job_id)


class _Reader(threading.Thread):
    """Reads the channels of all jobs that are listened to.

    One thread alone uses the connection: with TLS two at a time would break it. Whoever adds a
    channel wakes the reader, through a channel of its own.
    """

    def __init__(self, notices: RedisNotices) -> None:
        super().__init__(name="notices", daemon=True)
        self.own_channel = redis_keys.notices_reader(uuid.uuid4().hex)
        self._lock = notices._listeners_lock  # noqa: SLF001 - the other half of this module
        self._hearers = notices._hearers  # noqa: SLF001 - as above
        self._client = notices._notices_from  # noqa: SLF001 - as above
        self._owner = notices
        self._repeated = Repeated()
        #: Jobs whose channels are to be joined or left, and those that were.
        self._joining: set[str] = set()
        self._leaving: set[str] = set()
        self._joined: set[str] = set()
        self._is_cut_off = False
        self._needed_at = time.monotonic()

    def join_channel(self, job_id: str) -> Notice | None:
        """Read the job's channel too; return what is known of it. The caller holds the lock."""
        self._leaving.discard(job_id)
        if job_id in self._joined:
            return Notice.LISTENING
        self._joining.add(job_id)
        return Notice.CUT_OFF if self._is_cut_off else None

    def leave_channel(self, job_id: str) -> None:
        """Read the job's channel no more. The caller holds the lock."""
        self._joining.discard(job_id)
        self._leaving.add(job_id)

    def run(self) -> None:
        """Read until nobody listened for long; through failures of the server."""
        retry_s = _FIRST_RETRY_S
        while not self._is_unneeded():
            pubsub: Any = self._client.pubsub()
            try:
                pubsub.subscribe(self.own_channel)
                while not self._is_unneeded():
                    self._change_channels(pubsub)
                    if self._read(pubsub):
                        retry_s = _FIRST_RETRY_S
            except (redis.RedisError, OSError) as exc:
                if not self._cut_off() and self._is_dispensable():
                    return
                what = "notices of jobs do not arrive"
                self._repeated.log(log.warning, what, error=str(exc))
                time.sleep(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
            finally:
                with contextlib.suppress(redis.RedisError, OSError):
                    pubsub.close()

    def _is_unneeded(self) -> bool:
        with self._lock:
            if self._owner._reader is not self:  # noqa: SLF001 - as above
                return True
            if self._hearers:
                self._needed_at = time.monotonic()
            elif time.monotonic() - self._needed_at >= _IDLE_S:
                self._owner._reader = None  # noqa: SLF001 - as above
                return True
            return False

    def _is_dispensable(self) -> bool:
        """Whether nobody listens now; whoever does next starts another reader."""
        with self._lock:
            if self._hearers:
                return False
            if self._owner._reader is self:  # noqa: SLF001 - as above
                self._owner._reader = None  # noqa: SLF001 - as above
            return True

    def _change_channels(self, pubsub: Any) -> None:
        with self._lock:
            joining, self._joining = self._joining, set()
            leaving, self._leaving = self._leaving, set()
            self._joined -= leaving
        if joining:
            pubsub.subscribe(*map(redis_keys.notices, joining))
        if leaving:
            pubsub.unsubscribe(*map(redis_keys.notices, leaving))

    def _read(self, pubsub: Any) -> bool:
        """Wait for a message and pass it on; whether there was one."""
        message = pubsub.get_message(timeout=_IDLE_S)
        if message is None:
            return False
        job_id = redis_keys.job_noticed(message["channel"])
        if job_id is None:
            # To be woken is all.
            return True
        if message["type"] == "subscribe":
            # redis-py joins all channels again after it has lost the server.
            with self._lock:
                self._is_cut_off = False
                if job_id in self._hearers:
                    self._joined.add(job_id)
            self._pass_on([job_id], Notice.LISTENING)
        elif message["type"] == "message" and message["data"] in TOLD:
            self._pass_on([job_id], Notice(message["data"]))
        return True

    def _cut_off(self) -> bool:
        """Tell all listeners; whether there are any."""
        with self._lock:
            self._is_cut_off = True
            self._joined.clear()
            self._leaving.clear()
            every = list(self._hearers)
            self._joining = set(every)
        self._pass_on(every, Notice.CUT_OFF)
        return bool(every)

    def _pass_on(self, job_ids: Iterable[str], notice: Notice) -> None:
        for job_id in job_ids:
            for hear in self._hearers.get(job_id, ()):
                hear(notice)
