"""Calls of the protocol that take one step at a time, and can be refused or killed at any."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from fornada.coordination.interface import Admission, Claim
from fornada.errors import (
    BrokerError,
    FornadaError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.queue.celery_queue import bundles_of
from fornada.queue.message import ShardMessage
from fornada.storage.interface import ObjectStore
from fornada.storage.wrapper import StoreWrapper
from fornada.testing import InMemoryCoordination

_STUCK_S = 60.0


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, and nothing is tidied up."""


@dataclass(frozen=True)
class Fault:
    """What happens to a call at its step number `at`: counted from 1.

    `crash`: it dies before the step. `refused`: the step fails. `answer lost`: the step is
    done, and fails nevertheless.
    """

    kind: Literal["crash", "refused", "answer lost"]
    at: int


class Activity:
    """A call in a thread of its own, which runs only while `advance` waits for it."""

    def __init__(
        self,
        call: Callable[[], object],
        *,
        fault: Fault | None = None,
        bundle: Sequence[ShardMessage] = (),
    ) -> None:
        self.fault = fault
        #: What it was given to run.
        self.bundle = bundle
        self.ended = False
        self.crashed = False
        self.killed = False
        #: Ids of the attempts that have begun, by job and shard.
        self.attempts: dict[tuple[str, int], str] = {}
        self.result: object = None
        self.error: BaseException | None = None
        self._call = call
        self._steps_left: int | None = 0
        self._steps = 0
        self._granted = threading.Semaphore(0)
        self._yielded = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="activity", daemon=True)
        self._thread.start()

    def advance(self, steps: int | None) -> None:
        """Let it take `steps` steps, or all that are left; return when it has."""
        if self.ended:
            return
        self._steps_left = steps
        self._granted.release()
        assert self._yielded.acquire(timeout=_STUCK_S), "an activity hangs"
        if self.ended:
            self._thread.join()

    def kill(self) -> None:
        """End it before its next step."""
        self.killed = True
        self.advance(None)

    @contextmanager
    def step(self, refusal: type[FornadaError], *, is_down: bool) -> Iterator[None]:
        """One step of the protocol: a call of the store, the broker or the queue."""
        while self._steps_left == 0 and not self.killed:
            self._yielded.release()
            self._granted.acquire()
        self._steps += 1
        kind = self.fault.kind if self.fault and self.fault.at == self._steps else None
        self.killed = self.killed or kind == "crash"
        if self.killed:
            raise Crash
        if self._steps_left is not None:
            self._steps_left -= 1
        if is_down or kind == "refused":
            raise refusal("refused by the test")
        yield
        if kind == "answer lost":
            raise refusal("the answer was lost by the test")

    def _run(self) -> None:
        self._granted.acquire()
        try:
            self.result = self._call()
        except Crash:
            self.crashed = True
        except BaseException as exc:  # noqa: BLE001 - the machine looks at it
            self.error = exc
        self.ended = True
        self._yielded.release()


class Port:
    """Store, broker and queue as one process sees them; each call is a step of its activity."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        coordination: InMemoryCoordination,
        queue: list[Sequence[ShardMessage]],
        on_begin: Callable[[str, int, str, int], None],
    ) -> None:
        self.activity: Activity | None = None
        self.store_is_down: Callable[[], bool] = lambda: False
        self.broker_is_down: Callable[[], bool] = lambda: False
        #: Whether the store refuses an object, for good as far as anybody knows.
        self.refuses: Callable[[str], bool] = lambda _key: False
        self.objects: Any = _SteppedObjects(self, objects)
        self.coordination: Any = _SteppedCoordination(self, coordination, on_begin)
        self._queue = queue

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Enqueue them, one bundle after the other."""
        for bundle in bundles_of(messages, together=together):
            with self.broker_step():
                self._queue.append(bundle)

    def reserved(self) -> set[ShardMessage]:
        """Nothing: no test asks."""
        return set()

    @contextmanager
    def store_step(self, key: str) -> Iterator[None]:
        """A step that needs the store."""
        assert self.activity is not None
        with self.activity.step(StoreUnavailableError, is_down=self.store_is_down()):
            if self.refuses(key):
                raise StoreAccessError("refused by the test, for good")
            yield

    @contextmanager
    def broker_step(self) -> Iterator[None]:
        """A step that needs Redis."""
        assert self.activity is not None
        with self.activity.step(BrokerError, is_down=self.broker_is_down()):
            yield


class _SteppedObjects(StoreWrapper):
    """An `ObjectStore` each call of which is a step."""

    def __init__(self, port: Port, objects: ObjectStore) -> None:
        super().__init__(objects)
        self._port = port

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:
        return self._port.store_step(key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.conditional_writes:
            return super().put_if_absent(key, data)
        # As `S3ObjectStore` does it where conditions are ignored: others come in between.
        if self._read(key) is None:
            self.put(key, data)
        return self._read(key) == data

    def _read(self, key: str) -> bytes | None:
        try:
            return self.get(key).data
        except ObjectNotFoundError:
            return None


class _SteppedCoordination:
    """A `Coordination` each call of which is a step."""

    def __init__(
        self,
        port: Port,
        coordination: InMemoryCoordination,
        on_begin: Callable[[str, int, str, int], None],
    ) -> None:
        self._port = port
        self._coordination = coordination
        self._on_begin = on_begin

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._coordination, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._port.broker_step():
                return method(*args, **kwargs)

        return call

    def begin(self, claims: Sequence[Claim], *, lease_s: float) -> list[Admission]:
        with self._port.broker_step():
            begun = self._coordination.begin(claims, lease_s=lease_s)
            for claim, its in zip(claims, begun, strict=True):
                if its.status == "begun":
                    self._on_begin(claim.job_id, claim.shard, claim.attempt, its.attempts)
            return begun

    def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        """Nothing: its thread goes by the real clock; a rule of the machine renews."""
