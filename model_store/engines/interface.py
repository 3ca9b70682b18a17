"""What an engine is: it loads models and compiles predict calls."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.artifact.work import Work

#: Rows of the inputs, `tile_items` of them → as many of the outputs; callable from any thread.
#: That of a model with an input of open sides takes any number of rows of any such shapes.
Predict = Callable[[Rows], Rows]

#: A loaded model; compiles a predict call of the given number of rows, or of any for open sides.
Compile = Callable[[int], Predict]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineModel:
    """A model loaded by an engine."""

    compile: Compile
    work: Work
    #: For engines that pad calls themselves: the rows of a part, given the rows of a call. Their
    #: predict takes any whole number of parts up to a call, returns as many rows, and keeps no
    #: reference to its argument. `None`: predict takes every row of a call, padding included.
    part_items: Callable[[int], int] | None = None


class Engine(Protocol):
    """What computes in this process, for all of its models."""

    @property
    def name(self) -> str:
        """The engine in outcomes, with version and precision: `openvino 2026.4.1 float32`."""

    @property
    def tolerance(self) -> float:
        """Largest accepted difference from a golden batch; see `check_golden`."""

    @property
    def framework(self) -> str | None:
        """The package that computes, as `ModelDraft.golden_framework` names it; `None`: NumPy."""

    @property
    def streams(self) -> int:
        """Calls to compute side by side, each made by a thread of its own."""

    @property
    def calls_ahead(self) -> int:
        """Extra calls queued in the engine so that a stream never idles."""

    @property
    def call_bytes(self) -> int | None:
        """The most bytes of a layer's output in a call, on a device that wants as many rows.

        `None`: calls are of a core, and their rows follow from its cache.
        """

    def forget(self) -> None:
        """Free what the framework keeps of models that are gone; those still loaded go on."""

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],
    ) -> EngineModel:
        """Load a model; the engine checks that the artifact is safe.

        Args:
            artifact: The file.
            where: The model, for messages.
            takes: Its inputs.
            gives: Its outputs, which come in these dtypes.
            allowed_objects: Code of others the model may use, as `Trust.allowed_objects`.

        Raises:
            ModelRefusedError: It is unsafe, or the engine cannot run it. Compiling may raise this
                too.
            LocalDiskError: The temporary folder is full or not writable.
        """
