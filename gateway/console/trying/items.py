"""What people drop or paste becomes items of a model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fornada.errors import InputError, MissingExtraError, UsageError
from fornada.formats.images import decode_item
from fornada.formats.items import Array
from fornada.tensors import InputTensor
from gateway.console.items.pictures import image_of
from model_store.manifest import ModelManifest

MOST_ITEMS = 24
_MAX_TEXT_CHARACTERS = 100_000
_EXAMPLE_NUMBERS = 4
_MOST_NESTED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """An item that somebody tries."""

    name: str
    #: As `Client.predict` takes it, of one item; `None` where it could not be read.
    inputs: Any = None
    #: The image file, if it is one.
    file: bytes | None = None
    why: str | None = None


def pictured(manifest: ModelManifest) -> InputTensor | None:
    """The input that image files become; `None` if the model takes other items."""
    if len(manifest.inputs) != 1 or image_of(manifest.inputs[0]) is None:
        return None
    return manifest.inputs[0]


def of_file(name: str, data: bytes, taken: InputTensor) -> Tried:
    """The item that an image file is."""
    try:
        item: Array = decode_item(data, taken=taken, where=name)
    except (InputError, MissingExtraError) as exc:
        return Tried(name=name, file=data, why=str(exc))
    return Tried(name=name, file=data, inputs=item[np.newaxis])


def of_text(text: str, manifest: ModelManifest) -> list[Tried]:
    """The items in a text: JSON, an object or an array a row; or lines, for a model of texts.

    Raises:
        UsageError: It is neither, or there are too many.
    """
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise UsageError(f"the text has more than {_MAX_TEXT_CHARACTERS} characters; submit a job")
    rows = _rows(text, manifest)
    if len(rows) > MOST_ITEMS:
        raise UsageError(f"there are {len(rows)} rows, and {MOST_ITEMS} are tried; submit a job")
    if not rows:
        raise UsageError("there is no row; paste one")
    return [Tried(name=f"row {n}", inputs=[row]) for n, row in enumerate(rows, 1)]


def example(manifest: ModelManifest) -> str:
    """A row as the model takes it, to be edited."""
    if _takes_text(manifest):
        return "A text, a line each."
    if len(manifest.inputs) > 1:
        named = {taken.name: _number_of(taken) for taken in manifest.inputs}
        return json.dumps(named)
    return json.dumps(_number_of(manifest.inputs[0]))


def _takes_text(manifest: ModelManifest) -> bool:
    first = manifest.inputs[0]
    return len(manifest.inputs) == 1 and first.dtype == "string" and first.fixed_shape in {(), (1,)}


def _rows(text: str, manifest: ModelManifest) -> Sequence[Any]:
    if _takes_text(manifest) and not text.lstrip().startswith("["):
        return [line for line in text.splitlines() if line.strip()]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"the row is no JSON ({exc}); write it like {example(manifest)}") from exc
    return found if isinstance(found, list) and _is_several(found, manifest) else [found]


def _is_several(found: list[Any], manifest: ModelManifest) -> bool:
    """Whether a JSON array holds rows, and is not one."""
    if any(isinstance(row, dict) for row in found):
        return True
    depth, each = 0, found
    while isinstance(each, list) and each and depth < _MOST_NESTED:
        depth, each = depth + 1, each[0]
    return depth > len(manifest.inputs[0].shape)


def _number_of(taken: InputTensor) -> Any:
    if taken.dtype == "string":
        value: Any = "text"
    else:
        value = 0 if taken.dtype.startswith(("int", "uint")) else 0.0
    for side in reversed(taken.shape):
        value = [value] * (side or _EXAMPLE_NUMBERS)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value
