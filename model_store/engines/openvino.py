"""Models to one compiled predict call, by Keras on OpenVINO; TensorFlow is never imported.

`import_keras` is the one door, as in `keras_setup`: what the import of OpenVINO and Keras would
otherwise send, load and wait for is kept out there.
"""

import importlib
import sys
import threading
from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.errors import (
    ConfigError,
    MissingExtraError,
    ModelRefusedError,
    PredictionError,
    error_line,
)
from fornada.formats.items import Array
from fornada.imports import imports_blocked
from model_store.engines import golden
from model_store.engines.interface import Compile, Predict
from model_store.engines.keras_file import read_model
from model_store.engines.keras_predict import check_output_shape
from model_store.engines.keras_setup import keras_set_to
from model_store.engines.openvino_transposes import sink_transposes
from model_store.manifest import ModelManifest

Precision = Literal["float32", "bfloat16"]

#: As `golden.GOLDEN_TOLERANCE`, in bfloat16, which keeps 8 bits of the mantissa: probabilities
#: were seen to differ by 3e-3, larger numbers by 1 % of the largest.
BFLOAT16_TOLERANCE = 2e-2

#: Not to be imported along: OpenVINO's converter reports each import to its maker, and what Keras
#: wants for drawings, image files, scikit-learn and a remote monitor takes longer than all the
#: rest. Keras asks SciPy for the windows of Fourier transforms alone, and `artifact_check` lets no
#: layer pass that has one.
_KEPT_OUT = ("PIL", "matplotlib", "openvino.tools.ovc", "requests", "sklearn", "tensorflow")
_SCIPY = ("scipy", "scipy.signal")

_import_lock = threading.Lock()


def import_keras() -> Any:
    """The `keras` module, on OpenVINO.

    Raises:
        MissingExtraError: Keras or OpenVINO is not installed.
        ConfigError: Keras is set to another backend, or runs on one in this process.
    """
    with _import_lock:
        if "keras" not in sys.modules:
            _import_on_openvino()
        keras: Any = sys.modules["keras"]
    if keras.backend.backend() != "openvino":
        raise ConfigError(
            f"Keras runs on {keras.backend.backend()} in this process; load models on OpenVINO in "
            "another"
        )
    return keras


def engine_name(precision: Precision) -> str:
    """What computes, with its version and precision: `openvino 2026.4.1 float32`."""
    return f"openvino {version('openvino')} {precision}"


def check_precision(precision: Precision) -> None:
    """Check that this machine's CPU computes in `precision`.

    Raises:
        ConfigError: It does not; OpenVINO would compute in another without a word.
    """
    import_keras()
    able = sys.modules["openvino"].Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        raise ConfigError(
            "this CPU does not compute in bfloat16 (it has neither AVX512-BF16 nor AMX); set "
            "FORNADA_ENGINE=openvino"
        )


def load_model(data: bytes, *, where: str, allowed_layers: Collection[str] = ()) -> Any:
    """The `keras.Model` in the bytes of a `.keras` file, on OpenVINO.

    Raises:
        ModelRefusedError: It is not safe (`check_artifact`), or Keras cannot build it.
        LocalDiskError: The temporary folder is full or not writable.
    """
    return read_model(import_keras(), data, where=where, allowed_layers=allowed_layers)


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int],
    item_dtype: str,
    streams: int,
    precision: Precision,
) -> Predict:
    """Predict as one graph, compiled here for one fixed shape and never again.

    The function takes item_dtype [tile_items, *item_shape], C-contiguous, which is read where it
    is, and returns float32 [tile_items, outputs]. It may be called from many threads, and computes
    `streams` calls at a time, each on one core (ADR 0011); further ones wait in OpenVINO, whose own
    threads go on with them at once. A row's bytes depend neither on the other rows of its tile nor
    on `streams`.

    Raises:
        ModelRefusedError: OpenVINO has not what a layer needs, the model does not take such
            items, or it has other outputs.
    """
    takes = f"{item_dtype} [{tile_items}, {', '.join(map(str, item_shape))}]"
    try:
        graph = _graph(model, shape=(tile_items, *item_shape), dtype=item_dtype)
        outputs = [
            dim.get_length() if dim.is_static else None
            for output in graph.outputs
            for dim in output.get_partial_shape()
        ]
    except Exception as exc:
        # Layers raise what they like on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {takes} on OpenVINO ({error_line(exc)}); publish it with the "
            "item shape and dtype of its Input layer, or predict it with FORNADA_ENGINE=keras"
        ) from exc
    check_output_shape(outputs, tile_items=tile_items, takes=takes)
    return _guarded(_compiled(graph, streams=streams, precision=precision))


def _graph(model: Any, *, shape: tuple[int, ...], dtype: str) -> Any:
    openvino: Any = sys.modules["openvino"]
    ops: Any = sys.modules["keras"].ops
    opset = importlib.import_module("openvino.opset16")
    items = opset.parameter(list(shape), openvino.Type(np.dtype(dtype)))
    # Keras builds OpenVINO's graph as it calls the layers.
    outputs = model(ops.convert_to_tensor(items.output(0)), training=False)
    graph = openvino.Model([ops.cast(outputs, "float32").output], [items])
    sink_transposes(graph)
    return graph


def _compiled(graph: Any, *, streams: int, precision: Precision) -> Any:
    openvino: Any = sys.modules["openvino"]
    options = {
        # One thread each.
        "INFERENCE_NUM_THREADS": streams,
        "NUM_STREAMS": streams,
        # Two processes that pin their threads pin them to the same cores, and those that fetch and
        # store have to run somewhere too.
        "ENABLE_CPU_PINNING": False,
        # Left out, a CPU that can computes in bfloat16.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
    }
    try:
        return openvino.Core().compile_model(graph, "CPU", options)
    except RuntimeError as exc:
        raise ModelRefusedError(
            f"OpenVINO cannot compile the model ({error_line(exc)}); predict it with "
            "FORNADA_ENGINE=keras"
        ) from exc


def _guarded(compiled: Any) -> Predict:
    openvino: Any = sys.modules["openvino"]
    shape = tuple(compiled.output(0).shape)
    #: As many as were ever under way at a time.
    idle: list[Any] = []

    def borrowed() -> Any:
        try:
            return idle.pop()
        except IndexError:
            return compiled.create_infer_request()

    def predict(tile: Array) -> NDArray[np.float32]:
        outputs = np.empty(shape, np.float32)
        try:
            items = openvino.Tensor(_as_writable(tile), shared_memory=True)
            probabilities = openvino.Tensor(outputs, shared_memory=True)
            request = borrowed()
            try:
                request.set_input_tensor(items)
                request.set_output_tensor(probabilities)
                # Else it makes copies of the outputs, to return them too.
                request.infer(share_outputs=True)
            finally:
                idle.append(request)
        except (RuntimeError, ValueError, TypeError) as exc:
            if "bad_alloc" in str(exc):
                raise MemoryError(error_line(exc)) from exc
            raise PredictionError(
                f"predict failed on {tile.dtype} {tile.shape}: {error_line(exc)}; check the "
                "worker's memory and the model's input"
            ) from exc
        return outputs

    return predict


class _Writable:
    """An array's memory, said to be writable."""

    def __init__(self, array: Array) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _as_writable(tile: Array) -> Array:
    # OpenVINO shares no memory that is not, though it writes to no input. Ours belongs to the
    # bytes of a download; a copy would cost a tenth of a small model's predict.
    return tile if tile.flags.writeable else np.asarray(_Writable(tile))


def _import_on_openvino() -> None:
    try:
        with keras_set_to("openvino"), imports_blocked(_KEPT_OUT, stand_ins=_SCIPY):
            importlib.import_module("openvino")
            keras: Any = importlib.import_module("keras")
            # Keras imports TensorFlow to see whether an object is one of its kind. Where that
            # fails once, it does not try again.
            keras.saving.serialize_keras_object(keras.layers.Identity())
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"{exc.name} is not installed; run: pip install 'fornada[openvino]'"
        ) from exc


class OpenVINOEngine:
    """The same artifacts on OpenVINO, on CPUs; without TensorFlow."""

    def __init__(self, *, threads: int, precision: Precision) -> None:
        check_precision(precision)
        self.streams = threads
        # A stream goes on with the next call before Python has heard of the last (ADR 0014).
        self.calls_ahead = threads
        self._precision = precision
        self.name = engine_name(precision)
        self.tolerance = golden.GOLDEN_TOLERANCE if precision == "float32" else BFLOAT16_TOLERANCE

    def load(
        self, manifest: ModelManifest, artifact: bytes, *, allowed_layers: Collection[str]
    ) -> Compile:
        """The model, to be compiled to one graph for each size."""
        model = load_model(artifact, where=f"model {manifest}", allowed_layers=allowed_layers)
        return lambda tile_items: compile_predict(
            model,
            tile_items=tile_items,
            item_shape=manifest.item_shape,
            item_dtype=manifest.item_dtype,
            streams=self.streams,
            precision=self._precision,
        )
