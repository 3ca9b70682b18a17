"""Rows to a device and outputs back, in parts: what only fills a call is never transferred."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fornada.errors import DeviceLostError, DeviceMemoryError, error_line
from fornada.formats.items import Array
from fornada.tensors import InputTensor
from model_store.engines.jax.devices import import_jax

#: The least bytes of a part, so that its transfer takes longer than it does to ask for it.
_PART_BYTES = 2 * 2**20
_MOST_PARTS = 16
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"

#: Computes arrays, one for each input, to one for each output.
Call = Callable[[Sequence[Array]], list[Array]]


def part_items_of(tile_items: int, takes: Sequence[InputTensor]) -> int:
    """Rows that are transferred to a device at a time, of calls of `tile_items` rows.

    As few as pay, so that few of them are blank where a call is not full.
    """
    item_bytes = sum(
        math.prod(tensor.fixed_shape) * np.dtype(tensor.numpy_dtype).itemsize for tensor in takes
    )
    most_parts = min(_MOST_PARTS, tile_items * item_bytes // _PART_BYTES)
    parts = max(n for n in range(1, max(1, most_parts) + 1) if tile_items % n == 0)
    return tile_items // parts


def in_parts(
    forward: Callable[..., Sequence[Any]], part_items: int
) -> Callable[..., list[list[Any]]]:
    """`forward`, which takes and gives each tensor as a list of parts, to be traced.

    The parts are put together on the device, and computed as one call: no byte depends on them.
    """
    concatenate = import_jax().numpy.concatenate

    def split(output: Any) -> list[Any]:
        return [output[n : n + part_items] for n in range(0, len(output), part_items)]

    return lambda weights, *items: [
        split(output) for output in forward(weights, *map(concatenate, items))
    ]


def parts_of(specs: Sequence[Any], part_items: int) -> list[list[Any]]:
    """What a program from `in_parts` takes for inputs of these shapes and dtypes."""
    shape_of = import_jax().ShapeDtypeStruct
    return [
        [shape_of((part_items, *spec.shape[1:]), spec.dtype)] * (spec.shape[0] // part_items)
        for spec in specs
    ]


class Feed:
    """Calls of a program from `in_parts`, from any thread.

    A thread transfers its rows, has them computed and fetches the outputs; so of several threads
    one's rows are transferred while another's are computed. JAX copies what is transferred to a GPU
    into pinned memory that it keeps.

    Args:
        program: Takes a list of parts for each input, and gives one for each output.
        specs: Shape and dtype of each input of a call.
        part_items: Rows of a part.
        device: Where the program computes.
    """

    def __init__(
        self,
        program: Callable[..., Sequence[Sequence[Any]]],
        specs: Sequence[Any],
        *,
        part_items: int,
        device: Any,
    ) -> None:
        self._program = program
        self._part_items = part_items
        self._part_count = specs[0].shape[0] // part_items
        self._device = device
        self._put = import_jax().device_put
        self._blanks = [
            self._put(np.zeros((part_items, *spec.shape[1:]), spec.dtype), device) for spec in specs
        ]

    def __call__(self, items: Sequence[Array]) -> list[Array]:
        """The outputs of whole parts, as many rows as are given.

        Args:
            items: An array for each input; what it holds may change once this returns.
        """
        starts = range(0, len(items[0]), self._part_items)
        blank_count = self._part_count - len(starts)
        given = [
            [
                *self._transferred([array[n : n + self._part_items] for n in starts]),
                *[blank] * blank_count,
            ]
            for array, blank in zip(items, self._blanks, strict=True)
        ]
        outputs = [parts[: len(starts)] for parts in self._program(*given)]
        for parts in outputs:
            for part in parts:
                part.copy_to_host_async()
        return [_joined(parts) for parts in outputs]

    def _transferred(self, parts: list[Array]) -> list[Any]:
        """The parts on the device, or on their way there."""
        transferred: list[Any] = self._put(parts, self._device)
        return transferred


def _joined(parts: Sequence[Any]) -> Array:
    return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(list(map(np.asarray, parts)))


@contextmanager
def device_errors(device: Any) -> Iterator[None]:
    """Raise what JAX raises where memory of a device runs out, or the device fails, as ours.

    Raises:
        DeviceMemoryError: A call of fewer rows may fit.
        DeviceLostError: The device fails every call.
    """
    try:
        yield
    except Exception as exc:
        if not isinstance(exc, import_jax().errors.JaxRuntimeError):
            raise
        if _OUT_OF_MEMORY in str(exc):
            raise DeviceMemoryError(error_line(exc)) from exc
        check_device(device)
        raise


def check_device(device: Any) -> None:
    """Check that a device still computes anything.

    Raises:
        DeviceLostError: It does not.
    """
    jax = import_jax()
    try:
        jax.block_until_ready(jax.device_put(np.ones(1, np.float32), device) + 1)
    except jax.errors.JaxRuntimeError as exc:
        if _OUT_OF_MEMORY not in str(exc):
            raise DeviceLostError(
                f"{device.device_kind} fails every call ({error_line(exc)}); its process starts "
                "again; read the driver's log, and replace the device if this comes again"
            ) from exc
