"""A wall that is a process: a new program with an emptied environment, on the CPU, with limits."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import ValidationError

from fornada import errors
from fornada.child_process import ChildProcess
from fornada.errors import FornadaError, ModelWallError, error_line
from model_store.scratch import scratch_folder
from model_store.wall.limits import WallLimits
from model_store.wall.messages import (
    ANSWERS,
    MAX_ANSWER_BYTES,
    Answer,
    Check,
    Describe,
    Described,
    Failed,
    Passed,
    Request,
)

#: Above the model store's engines, so it is found by name.
_PROGRAM = "model_store.publishing.behind_wall"
#: What is kept of the environment: where shared libraries and their data are found.
_KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
_SAID_BYTES = 4096
_ENDS_WITHIN_S = 5.0


class WallProcess:
    """Loads artifacts in a process of its own, which ends with the block.

    Args:
        limits: What it may take.
        command: The program, by default `wall_command`.
    """

    def __init__(self, limits: WallLimits, *, command: Sequence[str] = ()) -> None:
        self._limits = limits
        self._command = [*command] or wall_command(limits)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        folder = self._held.enter_context(scratch_folder())
        self._stderr: IO[bytes] = self._held.enter_context((folder / "stderr").open("w+b"))
        self._process = ChildProcess(
            self._command, cwd=folder, environ=wall_environ(folder), stderr=self._stderr
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.end()
        self._held.close()

    def describe(self, request: Describe) -> Described:
        """What a file takes and gives."""
        answer = self._ask(request)
        if not isinstance(answer, Described):
            raise self._broken(request, "answers something else")
        return answer

    def check(self, request: Check) -> Passed:
        """Load an artifact, and have it reproduce its golden batch."""
        answer = self._ask(request)
        if not isinstance(answer, Passed):
            raise self._broken(request, "answers something else")
        return answer

    def _ask(self, request: Request) -> Answer:
        line = self._process.ask(
            request.to_json(), within_s=self._limits.time_s, most_bytes=MAX_ANSWER_BYTES
        )
        if not line.endswith(b"\n"):
            raise self._how_it_ended(request, answered=bool(line))
        try:
            answer = ANSWERS.validate_json(line, strict=True)
        except ValidationError as exc:
            raise self._broken(request, "answers something else") from exc
        if isinstance(answer, Failed):
            raise self._failure(request, answer)
        return answer

    def _failure(self, request: Request, answer: Failed) -> FornadaError:
        if answer.error == "MemoryError":
            return self._out_of_memory(request)
        kind = getattr(errors, answer.error, None)
        if not (isinstance(kind, type) and issubclass(kind, FornadaError)):
            return self._broken(request, f"raises {answer.error}: {answer.message}")
        return kind(answer.message)

    def _how_it_ended(self, request: Request, *, answered: bool) -> ModelWallError:
        # It closed its stdout, so it is about to end, and how tells why.
        code = self._process.end(within_s=0.0 if answered else _ENDS_WITHIN_S)
        if answered:
            return self._broken(request, "answers something else")
        if self._process.is_late:
            return ModelWallError(
                f"{request.where} takes more than {self._limits.time_s:.0f} s to load"
            )
        said = self._said()
        if code == -signal.SIGKILL or "bad_alloc" in said or "llocat" in said:
            return self._out_of_memory(request)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return self._broken(request, f"ends with {how}" + (f": {said}" if said else ""))

    def _out_of_memory(self, request: Request) -> ModelWallError:
        return ModelWallError(
            f"{request.where} takes more than {self._limits.data_bytes / 2**30:.1f} GiB of memory "
            "to load, or than this machine has"
        )

    def _broken(self, request: Request, how: str) -> ModelWallError:
        return ModelWallError(f"the process that loads {request.where} {how}")

    def _said(self) -> str:
        """The last line that the process wrote."""
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _SAID_BYTES))
        lines = self._stderr.read().decode(errors="replace").splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "")
        return error_line(Exception(said)) if said else ""


def wall_command(limits: WallLimits) -> list[str]:
    """The command of a process behind the wall."""
    return [
        sys.executable,
        "-P",
        "-m",
        _PROGRAM,
        f"--data-bytes={limits.data_bytes}",
        f"--cpu-s={limits.cpu_s}",
    ]


def wall_environ(folder: Path) -> dict[str, str]:
    """The environment of a process behind the wall: none of ours, and no GPU.

    Args:
        folder: Where it may write.
    """
    # It runs the code that we run, an allowed object's module included.
    path = [os.path.abspath(entry or ".") for entry in sys.path]  # noqa: PTH100 - keeps links
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "-1",
        # A TPU serves one process, the worker.
        "JAX_PLATFORMS": "cpu",
        # What is freed goes back at once: it does little, and two loads follow each other.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }
