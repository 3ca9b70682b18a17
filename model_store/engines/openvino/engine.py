"""Models compiled to OpenVINO's graphs, and the calls that compute them."""

import importlib
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fornada.errors import ConfigError, ModelRefusedError, error_line
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines import golden
from model_store.engines.artifact.work import estimate
from model_store.engines.golden import Precision
from model_store.engines.interface import EngineModel, Predict
from model_store.engines.keras_file import load_model
from model_store.engines.keras_setup import call_model, import_keras
from model_store.engines.open_sizes import with_checked_sizes
from model_store.engines.openvino.indices import with_index_check
from model_store.engines.openvino.transposes import sink_transposes
from model_store.engines.refusals import (
    call_text,
    check_output_shapes,
    check_outputs_said,
    check_width,
    memory_errors,
    prediction_error,
)

#: Integers that may be outside of those that OpenVINO computes.
_WIDE = tuple(map(np.dtype, ("uint32", "uint64", "int64")))
#: Sizes of open sides for which OpenVINO keeps prepared parts of a graph.
_KEPT_SIZES = 256


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
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor],
    streams: int,
    precision: Precision,
) -> Predict:
    """Compile predict to one graph.

    The function reads C-contiguous rows in place. Where a side is open, it takes any number of rows
    of any size. Many threads may call it. OpenVINO computes `streams` calls at a time, each on one
    core (ADR 0011), and queues the others (ADR 0014). A row's bytes depend neither on the other
    rows of its tile nor on `streams`.

    Raises:
        ModelRefusedError: OpenVINO lacks what a layer needs, the model does not take such items,
            or it has other outputs.
    """
    rows = None if any(tensor.is_open for tensor in takes) else tile_items
    taken = call_text(takes, rows)
    try:
        with memory_errors():
            graph, checks_indices = _graph(model, takes, gives, rows=rows)
        shapes = [_sides(output) for output in graph.outputs[: len(gives)]]
    except MemoryError:
        raise
    except Exception as exc:
        # Layers raise anything on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {taken} on OpenVINO ({error_line(exc)}); publish it with the "
            "item shape and dtype of its Input layer, or predict it with FORNADA_ENGINE=keras"
        ) from exc
    check_output_shapes(shapes, tile_items=rows, takes=taken)
    check_outputs_said(shapes, gives, takes=taken)
    compiled = _compiled(graph, streams=streams, precision=precision)
    predict = _guarded(compiled, gives, checks_indices=checks_indices)
    return with_checked_sizes(predict, model, takes=takes) if rows is None else predict


def _sides(output: Any) -> list[int | None]:
    sides = output.get_partial_shape()
    if sides.rank.is_dynamic:
        raise ValueError("an output has no fixed number of axes")
    return [side.get_length() if side.is_static else None for side in sides]


def _graph(
    model: Any, takes: Sequence[InputTensor], gives: Sequence[OutputTensor], *, rows: int | None
) -> tuple[Any, bool]:
    """The graph, and whether it has one more output: whether an index was outside of its table."""
    openvino: Any = sys.modules["openvino"]
    ops: Any = sys.modules["keras"].ops
    opset = importlib.import_module("openvino.opset16")
    parameters, cast = [], []
    for tensor in takes:
        sides = [-1 if side is None else side for side in (rows, *tensor.shape)]
        dtype = openvino.Type(np.dtype(tensor.numpy_dtype))
        items = opset.parameter(openvino.PartialShape(sides), dtype)
        parameters.append(items)
        cast.append(ops.cast(ops.convert_to_tensor(items.output(0)), tensor.dtype))
    # Keras builds OpenVINO's graph by calling the layers.
    outputs = call_model(model, cast)
    if len(outputs) != len(gives):
        raise ValueError(f"it gives {len(outputs)} outputs, and its manifest says {len(gives)}")
    numbers = []
    for output, given in zip(outputs, gives, strict=True):
        number = ops.cast(output, given.numpy_dtype)
        if (len(number.shape), given.shape) == (1, [1]):
            # A number an item was published as a vector of one.
            number = ops.expand_dims(number, -1)
        numbers.append(number.output)
    graph, checks_indices = with_index_check(numbers, parameters)
    sink_transposes(graph)
    return graph, checks_indices


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


def _guarded(compiled: Any, gives: Sequence[OutputTensor], *, checks_indices: bool) -> Predict:
    openvino: Any = sys.modules["openvino"]
    #: As many as there ever were concurrent calls.
    idle: list[Any] = []
    spaces = [_space_of(tensor) for tensor in gives]

    def borrow() -> Any:
        try:
            return idle.pop()
        except IndexError:
            return compiled.create_infer_request()

    def predict(tile: Rows) -> Rows:
        # Where a size is known only after the call, OpenVINO allocates.
        outputs = [space_of(len(tile)) for space_of in spaces]
        try:
            for array in tile.arrays:
                _check_32_bits(array)
            request = borrow()
            try:
                for number, array in enumerate(tile.arrays):
                    items = openvino.Tensor(_as_writable(array), shared_memory=True)
                    request.set_input_tensor(number, items)
                for number, space in enumerate(outputs):
                    if space is not None:
                        results = openvino.Tensor(space, shared_memory=True)
                        request.set_output_tensor(number, results)
                # Otherwise it copies the outputs, to return them as well.
                with memory_errors():
                    request.infer(share_outputs=True)
                if checks_indices:
                    _check_indices(request.get_output_tensor(len(gives)).data)
                return Rows(
                    *(
                        request.get_output_tensor(number).data.copy() if space is None else space
                        for number, space in enumerate(outputs)
                    )
                )
            finally:
                idle.append(request)
        except (RuntimeError, ValueError, TypeError) as exc:
            raise prediction_error(tile, exc) from exc

    return predict


def _space_of(tensor: OutputTensor) -> Callable[[int], Array | None]:
    """Makes memory for rows of an output; gives `None` if their size follows from the items."""
    if tensor.is_open:
        return lambda _row_count: None
    shape, dtype = tensor.fixed_shape, np.dtype(tensor.numpy_dtype)
    return lambda row_count: np.empty((row_count, *shape), dtype)


def _check_32_bits(tile: Array) -> None:
    # OpenVINO computes integers in 32 bits, and drops the others.
    if tile.dtype in _WIDE:
        check_width(tile, np.int32)


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

    framework = "openvino"

    def __init__(self, *, threads: int, precision: Precision) -> None:
        check_precision(precision)
        self.streams = threads
        # A stream starts the next call before Python has handled the last (ADR 0014).
        self.calls_ahead = threads
        self.call_bytes = None
        self._precision = precision
        self.name = f"openvino {version('openvino')} {precision}"
        self.tolerance = golden.tolerance_of(precision)

    def forget(self) -> None:
        """Nothing: OpenVINO keeps nothing."""

    def load(
        self,
        artifact: Path,
        *,
        where: str,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        allowed_objects: Collection[str],
    ) -> EngineModel:
        """Load a model; it is compiled to one graph per size."""
        # Keras on OpenVINO fails over the layers that read text, in words of its own.
        text = next((tensor.name for tensor in takes if tensor.dtype == "string"), None)
        if text is not None:
            raise ModelRefusedError(
                f"{where} takes text in its input {text!r}, which OpenVINO cannot compute; predict "
                "it with FORNADA_ENGINE=keras"
            )
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
                takes=takes,
                gives=gives,
                streams=self.streams,
                precision=self._precision,
            ),
            work=estimate(model, takes=takes),
        )
