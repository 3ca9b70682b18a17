"""Depthwise convolutions on the CPU, where XLA's own take six times as long."""

import importlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from model_store.engines.jax.devices import import_jax

#: With more, a program would take long to compile.
_MOST_PRODUCTS = 64

#: As `keras.ops.depthwise_conv`.
Convolve = Callable[..., Any]


@contextmanager
def fast_depthwise() -> Iterator[None]:
    """A block in which Keras's depthwise and separable layers are traced as sums of products."""
    keras_nn: Any = importlib.import_module("keras.src.backend.jax.nn")
    given = keras_nn.depthwise_conv
    keras_nn.depthwise_conv = _instead_of(given)
    try:
        yield
    finally:
        keras_nn.depthwise_conv = given


def _instead_of(given: Convolve) -> Convolve:
    keras: Any = importlib.import_module("keras")

    def convolve(  # noqa: PLR0917 - as Keras calls it
        inputs: Any,
        kernel: Any,
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
    ) -> Any:
        items, weights = (keras.ops.convert_to_tensor(each) for each in (inputs, kernel))
        places = weights.shape[:-2]
        is_last = (data_format or keras.config.image_data_format()) == "channels_last"
        if not is_last or math.prod(places) > _MOST_PRODUCTS:
            return given(inputs, kernel, strides, padding, data_format, dilation_rate)
        return sum_of_products(
            items,
            weights,
            strides=_each(strides, len(places)),
            padding=padding,
            dilation=_each(dilation_rate, len(places)),
        )

    return convolve


def sum_of_products(
    items: Any, kernel: Any, *, strides: Sequence[int], padding: str, dilation: Sequence[int]
) -> Any:
    """A depthwise convolution, as a product of the shifted items for each place in the kernel.

    XLA makes one loop of it. Sums are of float32 at least.

    Args:
        items: [items, side, …, channels].
        kernel: [side, …, channels, outputs of a channel].
        strides: For each side.
        padding: `same` or `valid`.
        dilation: For each side.
    """
    jax = import_jax()
    *places, channels, multiplier = kernel.shape
    reach = [(size - 1) * step + 1 for size, step in zip(places, dilation, strict=True)]
    pads = jax.lax.padtype_to_pads(items.shape[1:-1], reach, strides, padding.upper())
    summed = jax.numpy.promote_types(items.dtype, "float32")
    padded = jax.numpy.pad(items.astype(summed), [(0, 0), *pads, (0, 0)])
    counts = [
        (side - size) // stride + 1
        for side, size, stride in zip(padded.shape[1:-1], reach, strides, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(f"items of shape {items.shape[1:]} are smaller than the kernel, {reach}")

    def product(place: tuple[int, ...]) -> Any:
        starts = [at * step for at, step in zip(place, dilation, strict=True)]
        ends = [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(starts, counts, strides, strict=True)
        ]
        seen = jax.lax.slice(
            padded, (0, *starts, 0), (len(items), *ends, channels), (1, *strides, 1)
        )
        return seen[..., None] * kernel[place].astype(summed)

    first, *others = map(product, itertools.product(*map(range, places)))
    total = sum(others, first)
    return total.reshape(len(items), *counts, channels * multiplier).astype(items.dtype)


def _each(value: int | Sequence[int], count: int) -> Sequence[int]:
    return (value,) * count if isinstance(value, int) else tuple(value)
