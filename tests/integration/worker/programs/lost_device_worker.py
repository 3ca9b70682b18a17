"""A worker whose device is lost in its first call of real items; of a worker, it is all else.

Run as a program, with a worker's environment.
"""

import os
import sys
from dataclasses import replace
from typing import Any

from fornada.errors import DeviceLostError
from fornada.formats.rows import Rows
from fornada.settings import Settings
from model_store.engines.arithmetic import ArithmeticEngine
from model_store.engines.interface import EngineModel, Predict
from worker import assembly, process


class _LostEngine(ArithmeticEngine):
    """Computes golden batches, whose items begin with 1, and nothing more once it saw others."""

    def __init__(self, *, threads: int) -> None:
        super().__init__(threads=threads)
        self._is_lost = False

    def load(self, *args: Any, **options: Any) -> EngineModel:
        model = super().load(*args, **options)
        return replace(model, compile=lambda items: self._losing(model.compile(items)))

    def _losing(self, predict: Predict) -> Predict:
        def call(tile: Rows) -> Rows:
            self._is_lost = self._is_lost or tile.only.max() > 1
            if self._is_lost:
                raise DeviceLostError("CUDA_ERROR_LAUNCH_FAILED")
            return predict(tile)

        return call


def main() -> int:
    """Consume until a signal, or the loss, ends it."""
    assembly.open_engine = lambda _name, *, threads: _LostEngine(threads=threads)
    return process.run_process(Settings.from_env(os.environ), threads=2)


if __name__ == "__main__":
    sys.exit(main())
