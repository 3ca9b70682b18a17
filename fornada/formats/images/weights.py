"""Which pixels a resized pixel is made of, and with what weight, as TensorFlow has it."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fornada.tensors import Interpolation

_F32 = np.float32
#: Steps of the table in which TensorFlow looks up the weights of cubic interpolation.
_CUBIC_STEPS = 1024
_CUBIC_A = -0.5
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


@dataclass(frozen=True, slots=True)
class Taps:
    """Of one axis, for each resized position the positions before and their weights.

    positions: int64 [resized, taps]; weights: float32 [resized, taps], 0 where a tap is unused.
    """

    positions: NDArray[np.int64]
    weights: NDArray[np.float32]


@lru_cache(maxsize=64)
def taps(before: int, after: int, interpolation: Interpolation, *, antialias: bool) -> Taps:
    """How `before` pixels of one axis become `after`."""
    if interpolation == "nearest":
        return _nearest(before, after)
    if interpolation == "area":
        return _area(before, after)
    if interpolation == "bilinear" and not antialias:
        return _bilinear(before, after)
    if interpolation == "bicubic" and not antialias:
        return _bicubic(before, after)
    return _kernel(before, after, interpolation, antialias=antialias)


def _scale(before: int, after: int) -> np.float32:
    return _F32(before) / _F32(after)


def _nearest(before: int, after: int) -> Taps:
    centers = (np.arange(after, dtype=_F32) + _F32(0.5)) * _scale(before, after)
    positions = np.minimum(np.floor(centers).astype(np.int64), before - 1)[:, np.newaxis]
    return Taps(positions, np.ones(positions.shape, _F32))


def _centers(before: int, after: int) -> NDArray[np.float32]:
    return (np.arange(after, dtype=_F32) + _F32(0.5)) * _scale(before, after) - _F32(0.5)


def _bilinear(before: int, after: int) -> Taps:
    centers = _centers(before, after)
    floor = np.floor(centers)
    positions = np.empty((2, after), np.int64)
    low, high = positions
    low[:] = floor
    np.minimum(low + 1, before - 1, out=high)
    np.maximum(low, 0, out=low)
    weights = np.empty((2, after), _F32)
    np.subtract(centers, floor, out=weights[1])
    np.subtract(1, weights[1], out=weights[0])
    return Taps(positions.T, weights.T)


def _bicubic(before: int, after: int) -> Taps:
    centers = _centers(before, after)
    floor = np.floor(centers)
    step = np.rint((centers - floor) * _F32(_CUBIC_STEPS)).astype(np.int64)
    near, far = _cubic_table()
    weights = np.stack(
        [far[step], near[step], near[_CUBIC_STEPS - step], far[_CUBIC_STEPS - step]], axis=1
    )
    wanted = floor.astype(np.int64)[:, np.newaxis] + np.arange(-1, 3)
    positions = np.clip(wanted, 0, before - 1)
    weights = np.where(positions == wanted, weights, _F32(0))
    return Taps(positions, weights / weights.sum(axis=1, keepdims=True))


def _cubic_table() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of the nearer and the farther two pixels, by distance in steps."""
    near = np.arange(_CUBIC_STEPS + 1) / _CUBIC_STEPS
    far = near + 1
    return (
        (((_CUBIC_A + 2) * near - (_CUBIC_A + 3)) * near * near + 1).astype(_F32),
        (((_CUBIC_A * far - 5 * _CUBIC_A) * far + 8 * _CUBIC_A) * far - 4 * _CUBIC_A).astype(_F32),
    )


def _area(before: int, after: int) -> Taps:
    scale = _scale(before, after)
    begins = (np.arange(after, dtype=_F32) * scale)[:, np.newaxis]
    ends = (np.arange(1, after + 1, dtype=_F32) * scale)[:, np.newaxis]
    first = np.floor(begins).astype(np.int64)
    wanted = first + np.arange(int((np.ceil(ends).astype(np.int64) - first).max()))
    # As TensorFlow, which takes a pixel that is cut on both sides for a whole step.
    cut_before, cut_after = wanted < begins, wanted + 1 > ends
    at = wanted.astype(_F32)
    covered = np.where(
        cut_before,
        np.where(cut_after, scale, at + _F32(1) - begins),
        np.where(cut_after, ends - at, _F32(1)),
    )
    weights = np.where(wanted < ends, covered, _F32(0)) / scale
    return Taps(np.clip(wanted, 0, before - 1), weights.astype(_F32))


def _kernel(before: int, after: int, interpolation: Interpolation, *, antialias: bool) -> Taps:
    # As TensorFlow, which has the scale the other way round here.
    inverse = _F32(1) / (_F32(after) / _F32(before))
    stretch = max(inverse, _F32(1)) if antialias else _F32(1)
    reach = _F32(_RADIUS[interpolation]) * stretch
    centers = (np.arange(after, dtype=_F32) + _F32(0.5)) * inverse
    first = np.clip(np.ceil(centers - reach - _F32(0.5)).astype(np.int64), 0, before - 1)
    last = np.clip(np.floor(centers + reach - _F32(0.5)).astype(np.int64), 0, before - 1)
    count = min(2 * math.ceil(reach) + 1, before)
    wanted = first[:, np.newaxis] + np.arange(count)
    distance = np.abs((wanted + _F32(0.5) - centers[:, np.newaxis]) / stretch)
    weights = np.where(wanted <= last[:, np.newaxis], _curve(distance, interpolation), 0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return Taps(np.clip(wanted, 0, before - 1), weights.astype(_F32))


def _curve(distance: NDArray[np.float64], interpolation: Interpolation) -> NDArray[np.float64]:
    if interpolation == "bilinear":
        return np.maximum(1 - distance, 0.0)
    if interpolation == "lanczos":
        return np.where(distance < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)  # noqa: PLR2004 - its radius
    near = ((1.5 * distance - 2.5) * distance) * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    outer = np.where(distance >= 2, 0, far)  # noqa: PLR2004 - its radius
    return np.where(distance >= 1, outer, near)
