"""Golden batches: of given items or, without any, of generated ones."""

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fornada.errors import InputError, ModelRefusedError, error_line
from fornada.formats.items import Array, check_items, check_shape
from fornada.formats.npy import from_npy
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor
from model_store.publishing.checked import golden_outputs, made_up_count
from model_store.signature import token_count, words_of

#: A golden batch is predicted at every load, and more items would show no more.
MAX_GOLDEN_ITEMS = 1024
#: Sides to try where they are open: images first, which networks halve up to seven times.
_IMAGE_SIDES = (64, 128, 224, 256, 299, 384, 512)
_LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 8, 4, 2, 1)


def read_arrays(path: Path) -> Any:
    """The array in a `.npy` file, or the arrays by name in a `.npz` or `.safetensors` file.

    Raises:
        InputError: It is no such file, or holds Python objects.
    """
    if path.suffix == ".npy":
        return from_npy(path.read_bytes(), where=path.name)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, SafetensorError, zipfile.BadZipFile) as exc:
        raise InputError(
            f"{path.name} holds no arrays by name ({error_line(exc)}); write it with numpy.savez"
        ) from exc


def as_items(given: Any, takes: Sequence[InputTensor], *, where: str, argument: str) -> Rows:
    """What a publisher gives as items that the model takes.

    Args:
        given: An array of the only input, or arrays by the names of several.
        takes: The inputs.
        where: The model, for messages.
        argument: What was given, for messages.

    Raises:
        InputError: A name, shape, dtype or an integer does not fit.
    """
    names = [tensor.name for tensor in takes]
    by_name = given if isinstance(given, Mapping) else {names[0]: given}
    if set(by_name) != set(names):
        raise InputError(
            f"{argument} has {', '.join(map(str, by_name))}, and {where} takes {', '.join(names)}; "
            "give an array for each by its name"
        )
    arrays = [
        _as_items(by_name[tensor.name], tensor, where=where, argument=argument) for tensor in takes
    ]
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise InputError(
            f"{argument} has {', '.join(map(str, counts))} items; give as many of each"
        )
    return Rows(*arrays)


def _as_items(given: Any, taken: InputTensor, *, where: str, argument: str) -> Array:
    array = np.asarray(given)
    if taken.dtype == "string":
        return _as_texts(array, taken, where=where, argument=argument)
    items = check_items(
        array, item_shape=taken.shape, item_dtype=taken.dtype, model=where, where=argument
    )
    if taken.fill is None or items.dtype.kind != "f":
        return items
    return np.where(np.isnan(items), items.dtype.type(taken.fill), items)


def _as_texts(array: Array, taken: InputTensor, *, where: str, argument: str) -> Array:
    fitted = check_shape(array.shape, taken.shape, model=where, where=argument)
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    if not all(isinstance(text, bytes) for text in texts):
        raise InputError(f"{argument}: {array.dtype} is no text, which {where} takes")
    items = np.empty(len(texts), object)
    items[:] = texts
    return items.reshape(len(array), *fitted)


def check_golden_count(items: Rows, *, argument: str) -> Rows:
    """`items`, if a golden batch may have that many.

    Raises:
        InputError: It may not.
    """
    if not 0 < len(items) <= MAX_GOLDEN_ITEMS:
        raise InputError(f"{argument} has {len(items)} items; give 1 to {MAX_GOLDEN_ITEMS}")
    return items


def made_up_golden(
    model: Any, takes: Sequence[InputTensor], *, where: str, allow_nan: bool
) -> tuple[Rows, Rows]:
    """Generated items, and the outputs that the model gives for them.

    Raises:
        ModelRefusedError: The model takes none of the sizes tried, or gives NaN or infinity.
    """
    refusals: list[ModelRefusedError] = []
    for sized in _sized(takes):
        count = made_up_count(model, sized)
        rng = np.random.default_rng(0)
        made_up = _MadeUp(rng, count, token_count(model), words_of(model))
        items = Rows(*(made_up.array(tensor) for tensor in sized))
        try:
            outputs = golden_outputs(model, items, takes=takes, where=where, allow_nan=allow_nan)
        except ModelRefusedError as exc:
            refusals.append(exc)
        else:
            return items, outputs
    raise refusals[0]


def _sized(takes: Sequence[InputTensor]) -> Iterator[list[InputTensor]]:
    """The inputs with sizes that items may have, the likeliest first."""
    tries = [_IMAGE_SIDES if tensor.image is not None else _LENGTHS for tensor in takes]
    is_open = any(tensor.is_open for tensor in takes)
    for number in range(max(map(len, tries)) if is_open else 1):
        yield [
            tensor.model_copy(
                update={
                    "shape": [
                        sides[min(number, len(sides) - 1)] if side is None else side
                        for side in tensor.shape
                    ]
                }
            )
            for tensor, sides in zip(takes, tries, strict=True)
        ]


class _MadeUp(NamedTuple):
    """Makes items up."""

    rng: np.random.Generator
    item_count: int
    #: The size of the smallest vocabulary that integers may index, if there is one.
    vocabulary: int | None
    #: Words that the model knows.
    words: list[str]

    def array(self, tensor: InputTensor) -> Array:
        """Items of an input."""
        size = (self.item_count, *tensor.fixed_shape)
        if tensor.dtype == "string":
            return self._texts(size)
        dtype = np.dtype(tensor.numpy_dtype)
        if dtype.kind == "f":
            items = self.rng.random(size, np.float32)
            if tensor.image is not None:
                # Models of images scale pixels themselves, or take them scaled.
                pixels = items[::2]
                pixels *= 256
                np.floor(pixels, out=pixels)
            return items.astype(dtype, copy=False)
        # Integers other than pixels number a vocabulary, or classes of which there may be two.
        default = 256 if tensor.image is not None or dtype == np.uint8 else 2
        largest = 1 if dtype.kind == "b" else int(np.iinfo(dtype.name).max)
        end = min(self.vocabulary or default, largest + 1)
        return self.rng.integers(0, end, size).astype(dtype)

    def _texts(self, size: tuple[int, ...]) -> Array:
        known = [*self.words, "", "a word that it may not know"]
        texts = np.empty(math.prod(size), object)
        texts[:] = [known[number % len(known)].encode() for number in range(len(texts))]
        return texts.reshape(size)
