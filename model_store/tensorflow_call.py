"""The predict call of a function that TensorFlow compiled, run in the thread that calls it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.arrays import Array
from fornada.errors import PredictionError
from model_store.error_line import error_line
from model_store.golden import Predict
from model_store.tensor_memory import TensorMemory


def predict_call(compiled: Any, signature: Any, tensorflow: Any) -> Predict:
    """A predict call for many threads, each of which has a tile's memory copied.

    Args:
        compiled: A `tensorflow.ConcreteFunction` of one tensor, which gives one.
        signature: The tensor, as a `tensorflow.TensorSpec`.
        tensorflow: The module.
    """
    call = _call(compiled, tensorflow)
    idle: list[TensorMemory] = []

    def predict(tile: Array) -> NDArray[np.float32]:
        try:
            memory = idle.pop()
        except IndexError:
            memory = TensorMemory(signature, from_dlpack=tensorflow.experimental.dlpack.from_dlpack)
        try:
            outputs: NDArray[np.float32] = call(memory.holding(tile)).numpy()
        except tensorflow.errors.ResourceExhaustedError as exc:
            # The device's allocator does not recover; the process is of no more use.
            raise MemoryError(error_line(exc)) from exc
        except (tensorflow.errors.OpError, ValueError, TypeError) as exc:
            raise PredictionError(
                f"predict failed on {tile.dtype} {tile.shape}: {error_line(exc)}; check the "
                "worker's memory and the model's input"
            ) from exc
        finally:
            idle.append(memory)
        return outputs

    return predict


def _call(compiled: Any, tensorflow: Any) -> Callable[[Any], Any]:
    """`compiled`, run by the thread that calls it (ADR 0013)."""
    if tensorflow.config.list_physical_devices("GPU"):
        # As one operation it would be placed as a whole.
        return compiled  # type: ignore[no-any-return]
    operation = tensorflow.raw_ops.StatefulPartitionedCall
    captured, dtypes = list(compiled.captured_inputs), [compiled.structured_outputs.dtype]

    def call(tensor: Any) -> Any:
        (outputs,) = operation(args=[tensor, *captured], Tout=dtypes, f=compiled)
        return outputs

    return call
