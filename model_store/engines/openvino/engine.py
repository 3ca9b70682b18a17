"""Models compiled to OpenVINO's graphs, and the calls that compute them."""

import importlib
import sys
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.errors import ConfigError, ModelRefusedError, error_line
from fornada.formats.items import Array
from fornada.tensors import InputTensor, array_dtype
from model_store.engines import golden
from model_store.engines.artifact.work import estimate
from model_store.engines.interface import EngineModel, Predict
from model_store.engines.keras_file import load_model
from model_store.engines.keras_setup import call_model, import_keras
from model_store.engines.open_sizes import with_checked_sizes
from model_store.engines.openvino.indices import with_index_check
from model_store.engines.openvino.transposes import sink_transposes
from model_store.engines.refusals import (
    check_output_shape,
    memory_errors,
    prediction_error,
    tile_text,
)

Precision = Literal["float32", "bfloat16"]

#: Sizes of open sides for which OpenVINO keeps prepared parts of a graph.
_KEPT_SIZES = 256

#: `GOLDEN_TOLERANCE` for bfloat16, whose mantissa has 8 bits: probabilities were seen to differ by
#: 3e-3, larger outputs by 1 % of the largest.
BFLOAT16_TOLERANCE = 2e-2


def check_precision(precision: Precision) -> None:
    """Check that this machine's CPU computes in `precision`.

    Raises:
        ConfigError: It does not; OpenVINO would silently use another.
    """
    import_keras("openvino")
    able = sys.modules["openvino"].Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        raise ConfigError(
            "this CPU does not compute in bfloat16 (it has neither AVX512-BF16 nor AMX); set "
            "FORNADA_ENGINE=openvino"
        )


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int | None],
    item_dtype: str,
    streams: int,
    precision: Precision,
) -> Predict:
    """Compile predict to one graph.

    The function takes item_dtype [tile_items, *item_shape], C-contiguous and read in place, and
    returns float32 [tile_items, outputs]; bfloat16 comes as float32. Where a side is `None`, it
    takes any number of rows of any size. Many threads may call it. OpenVINO computes `streams`
    calls at a time, each on one core (ADR 0011), and queues the others (ADR 0014). A row's bytes
    depend neither on the other rows of its tile nor on `streams`.

    Raises:
        ModelRefusedError: OpenVINO lacks what a layer needs, the model does not take such items,
            or it has other outputs.
    """
    rows = None if None in item_shape else tile_items
    takes = tile_text(item_dtype, rows, item_shape)
    try:
        with memory_errors():
            graph = _graph(model, shape=(rows, *item_shape), dtype=item_dtype)
        outputs = [
            dim.get_length() if dim.is_static else None
            for dim in graph.outputs[0].get_partial_shape()
        ]
    except MemoryError:
        raise
    except Exception as exc:
        # Layers raise anything on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {takes} on OpenVINO ({error_line(exc)}); publish it with the "
            "item shape and dtype of its Input layer, or predict it with FORNADA_ENGINE=keras"
        ) from exc
    check_output_shape(outputs, tile_items=rows, takes=takes)
    predict = _guarded(_compiled(graph, streams=streams, precision=precision))
    return with_checked_sizes(predict, model, item_dtype=item_dtype) if rows is None else predict


def _graph(model: Any, *, shape: Sequence[int | None], dtype: str) -> Any:
    openvino: Any = sys.modules["openvino"]
    ops: Any = sys.modules["keras"].ops
    opset = importlib.import_module("openvino.opset16")
    sides = openvino.PartialShape([-1 if side is None else side for side in shape])
    items = opset.parameter(sides, openvino.Type(np.dtype(array_dtype(dtype))))
    # Keras builds OpenVINO's graph by calling the layers.
    outputs = call_model(model, ops.cast(ops.convert_to_tensor(items.output(0)), dtype))
    numbers = ops.cast(outputs, "float32")
    if len(numbers.shape) == 1:
        numbers = ops.expand_dims(numbers, -1)
    graph = with_index_check(numbers.output, items)
    sink_transposes(graph)
    return graph


def _compiled(graph: Any, *, streams: int, precision: Precision) -> Any:
    openvino: Any = sys.modules["openvino"]
    options = {
        # One thread each.
        "INFERENCE_NUM_THREADS": streams,
        "NUM_STREAMS": streams,
        # Two processes would pin their threads to the same cores, and leave none to the threads
        # that fetch and store.
        "ENABLE_CPU_PINNING": False,
        # The default is bfloat16 on CPUs that have it.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
    }
    if graph.is_dynamic():
        # By default it keeps what it prepared for 5,000 sizes, 0.5 MB each of a MobileNet.
        options["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT_SIZES
    try:
        return openvino.Core().compile_model(graph, "CPU", options)
    except RuntimeError as exc:
        raise ModelRefusedError(
            f"OpenVINO cannot compile the model ({error_line(exc)}); predict it with "
            "FORNADA_ENGINE=keras"
        ) from exc


def _guarded(compiled: Any) -> Predict:
    openvino: Any = sys.modules["openvino"]
    width = compiled.output(0).get_partial_shape()[1].get_length()
    checks_indices = len(compiled.outputs) > 1
    #: As many as there ever were concurrent calls.
    idle: list[Any] = []

    def borrow() -> Any:
        try:
            return idle.pop()
        except IndexError:
            return compiled.create_infer_request()

    def predict(tile: Array) -> NDArray[np.float32]:
        outputs = np.empty((len(tile), width), np.float32)
        try:
            _check_32_bits(tile)
            items = openvino.Tensor(_as_writable(tile), shared_memory=True)
            results = openvino.Tensor(outputs, shared_memory=True)
            request = borrow()
            try:
                request.set_input_tensor(items)
                request.set_output_tensor(0, results)
                # Otherwise it copies the outputs, to return them as well.
                with memory_errors():
                    request.infer(share_outputs=True)
                if checks_indices:
                    _check_indices(request.get_output_tensor(1).data)
            finally:
                idle.append(request)
        except (RuntimeError, ValueError, TypeError) as exc:
            raise prediction_error(tile, exc) from exc
        return outputs

    return predict


def _check_32_bits(tile: Array) -> None:
    # OpenVINO computes integers in 32 bits, and drops the others.
    if tile.dtype.name in {"uint32", "uint64", "int64"}:
        limits = np.iinfo(np.int32)
        low, high = int(tile.min()), int(tile.max())
        if low < limits.min or high > limits.max:
            raise ValueError(f"values from {low} to {high} are over 32 bits")


def _check_indices(any_outside: Any) -> None:
    if any_outside.any():
        raise ValueError("an index is outside of its table, as a token without an embedding")


class _Writable:
    """An array's memory, declared writable."""

    def __init__(self, array: Array) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _as_writable(tile: Array) -> Array:
    # OpenVINO shares only writable memory, though it never writes to an input. Tiles are in the
    # bytes of a download; copying one would cost a tenth of a small model's predict.
    return tile if tile.flags.writeable else np.asarray(_Writable(tile))


class OpenVINOEngine:
    """OpenVINO on the CPU; it runs the same artifacts as `KerasEngine`."""

    def __init__(self, *, threads: int, precision: Precision) -> None:
        check_precision(precision)
        self.streams = threads
        # A stream starts the next call before Python has handled the last (ADR 0014).
        self.calls_ahead = threads
        self._precision = precision
        self.name = f"openvino {version('openvino')} {precision}"
        self.publishes = False
        self.tolerance = golden.GOLDEN_TOLERANCE if precision == "float32" else BFLOAT16_TOLERANCE

    def forget(self) -> None:
        """Nothing: OpenVINO keeps nothing."""

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: InputTensor,
        allowed_objects: Collection[str],
    ) -> EngineModel:
        """Load a model; it is compiled to one graph per size."""
        model = load_model(
            artifact,
            where=where,
            allowed_objects=allowed_objects,
            backend="openvino",
        )
        return EngineModel(
            compile=lambda tile_items: compile_predict(
                model,
                tile_items=tile_items,
                item_shape=takes.shape,
                item_dtype=takes.dtype,
                streams=self.streams,
                precision=self._precision,
            ),
            work=estimate(
                model,
                item_shape=takes.shape,
                item_dtype=takes.dtype,
            ),
        )
