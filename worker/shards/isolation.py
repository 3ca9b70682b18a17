"""Predict a shard that kept killing workers in a process of its own, down to the item."""

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from fornada.child_process import ChildProcess
from fornada.errors import (
    FornadaError,
    InputError,
    JobRefusedError,
    ModelDeclinedError,
    ModelUnusableError,
    StoreUnavailableError,
)
from fornada.files.scratch import scratch_folder
from fornada.formats.columns import from_columns_file, joined_columns
from fornada.formats.tensor_file import Column
from fornada.jobs.items import Placed, blank_column
from fornada.logs import get_logger
from fornada.records import ItemError
from fornada.tensors import OutputTensor

log = get_logger(__name__)

#: Processes that may die over one shard: enough for several bad items among thousands, and done in
#: minutes if every item kills.
MAX_DEATHS = 64
#: Deaths during the load that blame the model; one may be chance.
_DEATHS_AT_LOAD = 2
#: The least time for a load, which includes the framework's import.
_LOAD_WITHIN_S = 180.0
_ENDS_WITHIN_S = 1.0

#: Takes the first item and a count; returns their outputs, and the items that failed.
PredictRange = Callable[[int, int], Placed]


class ProcessDiedError(FornadaError):
    """The isolated process ended, or was killed, without an answer."""


def bisect(item_count: int, predict: PredictRange, *, gives: Sequence[OutputTensor]) -> Placed:
    """Predict all items but those that kill the process, which become item errors.

    A range that killed the process is halved down to single items, so that one deadly item
    among n costs about log2(n) processes.

    Raises:
        ProcessDiedError: More than `MAX_DEATHS` processes died, or every single item killed one.
    """
    parts: list[list[Column]] = []
    errors: list[ItemError] = []
    deaths = killers = 0
    pending = [(0, item_count)]
    while pending:
        first, count = pending.pop()
        try:
            columns, failed = predict(first, count)
        except ProcessDiedError as exc:
            deaths += 1
            if deaths > MAX_DEATHS:
                raise ProcessDiedError(f"{deaths} processes died over it; the last: {exc}") from exc
            if count > 1:
                half = count // 2
                # The later half goes below on the stack: answers come in the items' order.
                pending += [(first + half, count - half), (first, half)]
                continue
            killers += 1
            if killers == item_count:
                # Then the items are not the cause.
                raise ProcessDiedError(f"a process died over every item; the last: {exc}") from exc
            columns = [blank_column(tensor, 1) for tensor in gives]
            failed = [ItemError(index=first, reason=f"its worker died over it: {exc}")]
        parts.append(columns)
        errors += failed
    return Placed(joined_columns(parts), errors)


class IsolatedProcess:
    """A process that predicts ranges of one shard's items; started again after it dies.

    Args:
        command: Runs `worker.shards.isolated` for the shard.
        gives: The job's outputs.
        timeout_s: A range that takes longer is ended, and counts as a death.
    """

    def __init__(
        self, command: Sequence[str], *, gives: Sequence[OutputTensor], timeout_s: float
    ) -> None:
        self._command = list(command)
        self._gives = gives
        self._timeout_s = timeout_s
        self._process: ChildProcess | None = None
        #: The engine, known once it has loaded the model.
        self.engine: str | None = None
        #: As `call_sizes`, of all ranges so far.
        self.call_sizes: dict[str, Any] = {}
        #: Of the inputs that it read, for all ranges so far.
        self.bytes_in = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def predict(self, first: int, count: int) -> Placed:
        """Predict `count` items from `first` on.

        Raises:
            ProcessDiedError: The process died over them.
            InputError: The shard cannot be read.
            JobRefusedError: The job's manifest does not fit the model's.
            ModelUnusableError: No worker can load the model.
            ModelDeclinedError: It is not loaded here, or the process dies while it loads it.
            StoreUnavailableError: Another attempt may succeed.
        """
        process = self._process or self._start()
        with scratch_folder() as folder:
            output = folder / "outputs"
            request = {"first": first, "count": count, "output": str(output)}
            answer = self._ask(process, request, timeout_s=self._timeout_s)
            _raise_failure(answer)
            data = output.read_bytes()
        where = "isolated prediction"
        columns = from_columns_file(data, self._gives, item_count=count, where=where)
        errors = [ItemError.from_plain(e, where=where) for e in answer["errors"]]
        self._note_call_sizes(answer)
        self.bytes_in += int(answer["bytes_in"])
        return Placed(columns, errors)

    def _note_call_sizes(self, answer: dict[str, Any]) -> None:
        if "tiles" in answer:
            known = self.call_sizes.setdefault("tiles", {})
            known |= answer["tiles"]
        else:
            self.call_sizes["tile_items"] = answer["tile_items"]

    def _ask(
        self, process: ChildProcess, request: dict[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        line = process.ask(json.dumps(request).encode(), within_s=timeout_s)
        if not line.endswith(b"\n"):
            raise ProcessDiedError(self._how_it_ended())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> ChildProcess:
        """Start the process and wait until it has loaded the model.

        Raises:
            ModelDeclinedError: It dies over that.
        """
        for _ in range(_DEATHS_AT_LOAD):
            self._process = ChildProcess(self._command)
            with contextlib.suppress(ProcessDiedError):
                answer = self._ask(
                    self._process,
                    {"load": True},
                    timeout_s=max(_LOAD_WITHIN_S, self._timeout_s),
                )
                _raise_failure(answer)
                self.engine = answer["engine"]
                return self._process
        raise ModelDeclinedError(
            "the process that loads it dies; try it with `fornada doctor`, and give workers more "
            "memory"
        )

    def _how_it_ended(self) -> str:
        code = self._end()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _end(self) -> int:
        process, self._process = self._process, None
        return 0 if process is None else process.end(within_s=_ENDS_WITHIN_S)


def isolated_command(job_id: str, shard: int) -> list[str]:
    """The command of a process that predicts ranges of this shard's items."""
    return [sys.executable, "-P", "-m", "worker.shards.isolated", job_id, str(shard)]


def _raise_failure(answer: dict[str, Any]) -> None:
    # After any other fault, another attempt may succeed.
    kinds: dict[str, type[FornadaError]] = {
        "item": InputError,
        "job": JobRefusedError,
        "model": ModelUnusableError,
        "declined": ModelDeclinedError,
    }
    if "failed" in answer:
        kind, text = kinds.get(answer["failed"], StoreUnavailableError), answer["message"]
        raise kind(text).with_public_text(answer.get("public", text))
