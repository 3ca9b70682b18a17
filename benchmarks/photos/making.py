"""Photographs made from noise of all scales, edges and shade: the same bytes for the same number.

They compress as photographs do: a byte holds some six pixels.
"""

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SEED = 20_261_129
_SCENES = 12
_SCENE_SIZE = (1800, 1350)
_LONG_SIDES = (300, 1600)
_RATIOS = ((4, 3), (4, 3), (3, 2), (3, 2), (16, 9), (1, 1))
_QUALITIES = (75, 80, 85, 85, 85, 85, 90, 92)
#: Of each hundred: photographs that EXIF turns, progressive ones, PNG files.
_TURNED, _PROGRESSIVE, _PNG = 8, 6, 2
_LONGEST_PNG = 600
_ORIENTATION, _MAKE, _MODEL, _TAKEN_AT = 0x0112, 0x010F, 0x0110, 0x0132


def photo(number: int) -> bytes:
    """The file of photograph `number`: JPEG, or PNG for a few."""
    rng = np.random.default_rng([_SEED, number])
    is_png, is_progressive, is_turned = (
        rng.integers(100) < share for share in (_PNG, _PROGRESSIVE, _TURNED)
    )
    picture = _picture(rng, longest=_LONGEST_PNG if is_png else _LONG_SIDES[1])
    file = io.BytesIO()
    if is_png:
        picture.save(file, "PNG", compress_level=6)
        return file.getvalue()
    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL], exif[_TAKEN_AT] = "Fornada", "Bench 1", "2026:11:29 12:00:00"
    exif[_ORIENTATION] = int(rng.choice([3, 6, 8])) if is_turned else 1
    quality = int(rng.choice(_QUALITIES))
    picture.save(file, "JPEG", quality=quality, progressive=bool(is_progressive), exif=exif)
    return file.getvalue()


def _picture(rng: np.random.Generator, *, longest: int) -> Image.Image:
    """A part of a scene, in a size of its own."""
    across, down = _RATIOS[rng.integers(len(_RATIOS))]
    long_side = int(np.exp(rng.uniform(np.log(_LONG_SIDES[0]), np.log(longest))))
    size = (long_side, max(1, long_side * down // across))
    scene = Image.fromarray(_scene(int(rng.integers(_SCENES))))
    # A lens of another length: what is seen takes from half of the scene to all that fits.
    most = min(scene.width / size[0], scene.height / size[1])
    zoom = most * rng.uniform(0.5, 1.0)
    width, height = size[0] * zoom, size[1] * zoom
    left = rng.uniform(0, scene.width - width)
    top = rng.uniform(0, scene.height - height)
    part = scene.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.integers(3) == 0:
        part = part.transpose(Image.Transpose.ROTATE_90)
    light = rng.uniform(0.75, 1.2)
    grain = rng.normal(0, rng.uniform(1.0, 6.0), (part.height, part.width, 1))
    return Image.fromarray((np.asarray(part) * light + grain).clip(0, 255).astype(np.uint8))


@functools.cache
def _scene(number: int) -> NDArray[np.uint8]:
    """Hills of light and colour with edges between them: uint8 [height, width, 3]."""
    rng = np.random.default_rng([_SEED, number, 1])
    texture = _clouds(rng, roughness=0.55)
    shapes = np.sign(_clouds(rng, roughness=1.6)) * 0.6
    hue = np.stack([_clouds(rng, roughness=1.8) for _ in range(3)], axis=2)
    light = 0.5 + 0.15 * texture + 0.14 * shapes
    colour = light[..., np.newaxis] + 0.12 * hue * (1 + shapes[..., np.newaxis])
    return (colour.clip(0, 1) * 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, *, roughness: float) -> NDArray[np.float32]:
    """Noise whose amplitude falls with its frequency, as light in nature does: about -2 to 2."""
    width, height = _SCENE_SIZE
    total = np.zeros((height, width), np.float32)
    for octave in range(1, 11):
        cells = 2**octave
        grid = rng.normal(0, 1, (min(cells, height), min(cells, width))).astype(np.float32)
        smooth = Image.fromarray(grid).resize(_SCENE_SIZE, Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * np.float32(2.0 ** (-roughness * (octave - 1)))
    spread: NDArray[np.float32] = total / total.std()
    return spread
