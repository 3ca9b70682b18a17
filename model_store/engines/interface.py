"""What an engine is: it loads a model and compiles predict calls of a fixed size."""

from collections.abc import Callable, Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from model_store.manifest import ModelManifest

#: item dtype [tile_items, *item_shape] → float32 [tile_items, outputs].
Predict = Callable[[Array], NDArray[np.float32]]

#: A loaded model as a function of so many rows.
Compile = Callable[[int], Predict]


class Engine(Protocol):
    """What computes in this process: one for all of its models."""

    @property
    def name(self) -> str:
        """What outcomes say of it, with version and precision: `openvino 2026.4.1 float32`."""

    @property
    def tolerance(self) -> float:
        """How far a golden batch's outputs may be off; times the largest, where that is above 1."""

    @property
    def streams(self) -> int:
        """Calls that shall be computed side by side, each by a thread of its own."""

    @property
    def calls_ahead(self) -> int:
        """Further calls that shall wait in the engine, for a stream to go on with at once."""

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled for as many rows a call as are asked for.

        Args:
            manifest: Whose model it is.
            artifact: The `.keras` file.
            allowed_layers: Custom layers that it may have, `package.module:ClassName`.

        Raises:
            ModelRefusedError: It is not safe, or the engine cannot run it; also when it is
                compiled.
            LocalDiskError: The temporary folder is full or not writable.
        """
