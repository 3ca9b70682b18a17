"""Predict a shard that kept killing its workers in a process of its own, down to the item."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fornada.errors import FornadaError, InputError, ModelRefusedError, StoreUnavailableError
from fornada.formats.npy import from_npy
from fornada.jobs.outcome import ItemError
from fornada.logs import get_logger
from worker.compute.batcher import Probabilities

log = get_logger(__name__)

#: Processes that may die over one shard: room for several bad items among thousands, and an end
#: in minutes when every item kills.
MAX_DEATHS = 64
#: Deaths before the first answer that are taken for the model's doing, and not for chance.
_DEATHS_AT_LOAD = 2
#: The least time for a load: a worker has imported TensorFlow before its shards' deadlines begin.
_LOAD_WITHIN_S = 180.0

#: From the first item on, so many: float32 [items, classes], and what failed among them.
PredictRange = Callable[[int, int], tuple[Probabilities, list[ItemError]]]


class ProcessDiedError(FornadaError):
    """The process of its own ended, or was ended, without an answer."""


def bisect(
    item_count: int, predict: PredictRange, *, class_count: int
) -> tuple[Probabilities, list[ItemError]]:
    """Predict all items that can be; one over which the process dies becomes an error.

    A run over which the process died is halved until single items are left, so that one such
    item among n costs about log2(n) processes.

    Raises:
        ProcessDiedError: More than `MAX_DEATHS` processes died, or one over every single item.
    """
    rows: list[Probabilities] = []
    errors: list[ItemError] = []
    deaths = killers = 0
    pending = [(0, item_count)]
    while pending:
        first, count = pending.pop()
        try:
            probabilities, failed = predict(first, count)
        except ProcessDiedError as exc:
            deaths += 1
            if deaths > MAX_DEATHS:
                raise ProcessDiedError(f"{deaths} processes died over it; the last: {exc}") from exc
            if count > 1:
                half = count // 2
                # The later half goes below: answers come in the items' order.
                pending += [(first + half, count - half), (first, half)]
                continue
            killers += 1
            if killers == item_count:
                # Not the items' doing, then.
                raise ProcessDiedError(f"a process died over every item; the last: {exc}") from exc
            probabilities = np.full((1, class_count), np.nan, np.float32)
            failed = [ItemError(index=first, reason=f"its worker died over it: {exc}")]
        rows.append(probabilities)
        errors += failed
    return np.concatenate(rows), errors


class IsolatedProcess:
    """A process that predicts runs of one shard's items, started again when it dies.

    Args:
        command: Runs `worker.shards.isolated` for the shard.
        timeout_s: A run that takes longer is ended, and counts as the process's death.
    """

    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self._command = list(command)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        #: What computes, and with how many rows a call; known once it has answered.
        self.engine: str | None = None
        self.tile_items: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def predict(self, first: int, count: int) -> tuple[Probabilities, list[ItemError]]:
        """Predict `count` items from `first` on.

        Raises:
            ProcessDiedError: The process died over them.
            InputError: The shard cannot be read.
            ModelRefusedError: The model cannot be used, or the process dies while it loads it.
            StoreUnavailableError: The store cannot be reached for now.
        """
        process = self._process or self._start()
        with tempfile.TemporaryDirectory(prefix="fornada-isolated-") as folder:
            output = Path(folder) / "probabilities.npy"
            request = {"first": first, "count": count, "output": str(output)}
            answer = self._ask(process, request, timeout_s=self._timeout_s)
            _raise_failure(answer)
            data = output.read_bytes()
        probabilities = np.array(from_npy(data, where="isolated prediction"), np.float32)
        errors = [ItemError.from_plain(e, where="isolated prediction") for e in answer["errors"]]
        return probabilities, errors

    def _ask(
        self, process: "subprocess.Popen[bytes]", request: dict[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise ProcessDiedError("it has no pipes")
        with _limited(process, timeout_s=timeout_s):
            # A process that is gone does not read; what it answers is then nothing.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ProcessDiedError(self._how_it_ended())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start the process and wait until it has loaded the model.

        Raises:
            ModelRefusedError: It dies over that.
        """
        for _ in range(_DEATHS_AT_LOAD):
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            with contextlib.suppress(ProcessDiedError):
                answer = self._ask(
                    self._process,
                    {"load": True},
                    timeout_s=max(_LOAD_WITHIN_S, self._timeout_s),
                )
                _raise_failure(answer)
                self.engine, self.tile_items = answer["engine"], answer["tile_items"]
                return self._process
        raise ModelRefusedError("the process that loads it dies; try it with `fornada doctor`")

    def _how_it_ended(self) -> str:
        code = self._end()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@contextmanager
def _limited(process: "subprocess.Popen[bytes]", *, timeout_s: float) -> Iterator[None]:
    """Kill the process unless the block is left in time."""
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def isolated_command(job_id: str, shard: int) -> list[str]:
    """The command of a process that predicts runs of this shard's items."""
    return [sys.executable, "-P", "-m", "worker.shards.isolated", job_id, str(shard)]


def _raise_failure(answer: dict[str, Any]) -> None:
    # Faults of the caller, the worker or nobody: another attempt may go better.
    kinds: dict[str, type[FornadaError]] = {"item": InputError, "model": ModelRefusedError}
    if "failed" in answer:
        raise kinds.get(answer["failed"], StoreUnavailableError)(answer["message"])
