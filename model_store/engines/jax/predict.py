"""The compiled predict call of a Keras model on JAX."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from fornada.errors import DeviceLostError, DeviceMemoryError, ModelRefusedError, error_line
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor, stored_dtype
from model_store.engines.interface import Predict
from model_store.engines.jax.depthwise import fast_depthwise
from model_store.engines.jax.devices import (
    Platform,
    compiler_options,
    device_here,
    import_jax,
    platform_of,
)
from model_store.engines.jax.feeding import Call, Feed, device_errors, in_parts, parts_of
from model_store.engines.jax.host_memory import HostMemory
from model_store.engines.jax.indices import check_indices, looks_up, with_index_check
from model_store.engines.keras_setup import call_model, import_keras
from model_store.engines.open_sizes import found_once, with_checked_sizes
from model_store.engines.refusals import (
    call_text,
    check_output_shapes,
    check_outputs_said,
    check_width,
    memory_errors,
    prediction_error,
)

#: Sizes of open sides for which a compiled call is kept.
_KEPT_SIZES = 256
#: Warnings and Keras's functions are the process's; two threads that both change them would leave
#: them changed.
_tracing_lock = threading.Lock()


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor] | None,
    part_items: int | None = None,
) -> Predict:
    """Compile predict to one XLA program of fixed shapes, before the first call.

    With open sides there is one for each size, compiled by the first call of that size. Many
    threads may call it. On the CPU a call computes on one core, in the thread that makes it.

    Args:
        model: From `load_model`, on JAX.
        tile_items: Rows of every call; ignored with open sides.
        takes: The model's inputs.
        gives: Its outputs, as its manifest says; `None` for those that it has.
        part_items: Rows that are transferred at a time, to a device with memory of its own; `None`:
            JAX computes from this process's memory.

    Raises:
        DeviceMemoryError: The device has too little memory.
        DeviceLostError: It fails every call.
        ModelRefusedError: JAX lacks what a layer needs, the model does not take such items, or it
            has other outputs.
    """
    device = device_here()
    if not any(tensor.is_open for tensor in takes):
        return _guarded(_compiled(model, tile_items, takes, gives, part_items), device)

    def compiled(rows: int, shapes: tuple[tuple[int, ...], ...]) -> Predict:
        sized = [
            tensor.model_copy(update={"shape": list(shape)})
            for tensor, shape in zip(takes, shapes, strict=True)
        ]
        return _compiled(model, rows, sized, gives)

    of_size = found_once(compiled, most=_KEPT_SIZES)
    predict = _guarded(lambda tile: of_size(len(tile), tile.shapes)(tile), device)
    return with_checked_sizes(predict, model, takes=takes)


def _compiled(
    model: Any,
    rows: int,
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor] | None,
    part_items: int | None = None,
) -> Predict:
    jax = import_jax()
    taken = call_text(takes, rows)
    device = device_here()
    weights = [variable.value for variable in model.variables]
    specs = [
        jax.ShapeDtypeStruct((rows, *tensor.shape), _computed(tensor.numpy_dtype))
        for tensor in takes
    ]
    try:
        with _errors_of(device), _tracing(jax, platform_of(device)):
            compiled, shapes, checks_indices = _program(
                _forward(model, takes, gives), weights, specs, part_items
            )
    except (MemoryError, DeviceMemoryError, DeviceLostError):
        raise
    except Exception as exc:
        # Layers raise anything on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {taken} on JAX ({error_line(exc)}); publish it with the item "
            "shape and dtype of its Input layer, or predict it with FORNADA_ENGINE=keras"
        ) from exc
    check_output_shapes(shapes, tile_items=rows, takes=taken)
    dtypes: Sequence[str | None] = [None] * len(shapes)
    if gives is not None:
        check_outputs_said(shapes, gives, takes=taken)
        dtypes = [tensor.numpy_dtype for tensor in gives]

    def program(*items: Any) -> Any:
        outputs = compiled(weights, *items)
        if checks_indices:
            error, outputs = outputs
            check_indices(error)
        return outputs

    if part_items is None:
        call = _from_memory(program, specs)
    else:
        call = Feed(program, specs, part_items=part_items, device=device)

    def predict(tile: Rows) -> Rows:
        items = [_as_computed(a, spec.dtype) for a, spec in zip(tile.arrays, specs, strict=True)]
        return Rows(*map(_as_stored, call(items), dtypes))

    return predict


def _program(
    forward: Callable[..., Any], weights: Any, specs: Sequence[Any], part_items: int | None
) -> tuple[Any, list[tuple[int, ...]], bool]:
    """The program, the shapes of its outputs, and whether it says if indices were in their tables.

    Args:
        forward: From `_forward`.
        weights: Its first argument.
        specs: Shape and dtype of each input.
        part_items: As of `compile_predict`; the program is then one of `in_parts`.
    """
    jit = import_jax().jit
    traced = jit(forward).trace(weights, *specs)
    checks_indices = looks_up(traced.jaxpr)
    shapes = [tuple(each.shape) for each in traced.out_info]
    given: Sequence[Any] = specs
    if part_items is not None:
        forward, given = in_parts(forward, part_items), parts_of(specs, part_items)
    if checks_indices:
        forward = with_index_check(forward)
    if checks_indices or part_items is not None:
        traced = jit(forward).trace(weights, *given)
    options = compiler_options(platform_of(device_here()))
    return traced.lower().compile(options), shapes, checks_indices


def _from_memory(program: Callable[..., Sequence[Any]], specs: Sequence[Any]) -> Call:
    """Calls of `program` with items of these shapes and dtypes in memory that it need not copy."""
    #: One for each thread that was ever in a call at the same time as others.
    idle: list[list[HostMemory]] = []

    def call(items: Sequence[Array]) -> list[Array]:
        try:
            memories = idle.pop()
        except IndexError:
            memories = [HostMemory(spec.shape, spec.dtype) for spec in specs]
        try:
            held = [memory.holding(array) for memory, array in zip(memories, items, strict=True)]
            outputs = [np.asarray(output) for output in program(*held)]
            for memory in memories:
                outputs = [memory.kept(output) for output in outputs]
            return outputs
        finally:
            idle.append(memories)

    return call


def _errors_of(device: Any) -> AbstractContextManager[None]:
    """Raise what JAX raises where memory runs out, or the device is lost, as errors of ours."""
    return memory_errors() if platform_of(device) == "cpu" else device_errors(device)


def _forward(
    model: Any, takes: Sequence[InputTensor], gives: Sequence[OutputTensor] | None
) -> Callable[..., list[Any]]:
    """What is traced: weights and inputs to outputs. State that layers update is discarded."""
    keras = import_keras("jax")
    variables = list(model.variables)

    def forward(weights: Sequence[Any], *items: Any) -> list[Any]:
        cast = [
            item.astype(_computed(tensor.dtype)) for item, tensor in zip(items, takes, strict=True)
        ]
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            outputs = call_model(model, cast)
        return _as_said(outputs, gives)

    return forward


def _as_said(outputs: Sequence[Any], gives: Sequence[OutputTensor] | None) -> list[Any]:
    """The outputs in the dtypes and shapes that the manifest says."""
    if gives is None:
        return [each.astype(_computed(stored_dtype(each.dtype.name))) for each in outputs]
    if len(outputs) != len(gives):
        raise ValueError(f"it gives {len(outputs)} outputs, and its manifest says {len(gives)}")
    return [
        # A number an item was published as a vector of one.
        cast.reshape(-1, 1) if (cast.ndim, tensor.shape) == (1, [1]) else cast
        for tensor, cast in (
            (tensor, each.astype(_computed(tensor.numpy_dtype)))
            for each, tensor in zip(outputs, gives, strict=True)
        )
    ]


def _computed(dtype: str) -> Any:
    """The dtype in which JAX computes another one: it has no numbers of 64 bits."""
    return import_jax().dtypes.canonicalize_dtype(dtype)


def _as_computed(array: Array, dtype: Any) -> Array:
    if array.dtype.itemsize <= dtype.itemsize or array.dtype.kind != dtype.kind:
        return array
    if dtype.kind in "iu":
        check_width(array, dtype)
    return array.astype(dtype)


def _as_stored(output: Array, dtype: str | None) -> Array:
    return output if dtype is None else output.astype(dtype, copy=False)


def _guarded(predict: Predict, device: Any) -> Predict:
    """`predict`, whose failures are ours.

    Args:
        predict: Computes a tile on the device.
        device: Is asked for once: that takes as long as a short call.
    """

    def guarded(tile: Rows) -> Rows:
        try:
            with _errors_of(device):
                return predict(tile)
        except (DeviceMemoryError, DeviceLostError):
            raise
        except (ModelRefusedError, RuntimeError, ValueError, TypeError) as exc:
            raise prediction_error(tile, exc) from exc

    return guarded


@contextmanager
def _tracing(jax: Any, platform: Platform) -> Iterator[None]:
    """Full precision: by default GPUs round to 10 bits, and TPUs to 8, before they multiply."""
    with (
        _tracing_lock,
        fast_depthwise() if platform == "cpu" else nullcontext(),
        warnings.catch_warnings(),
        jax.default_matmul_precision("highest"),
    ):
        # Models of 64-bit integers; values that need them fail.
        warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
        yield
