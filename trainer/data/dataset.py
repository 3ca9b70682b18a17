"""What a model is trained and tested on: items and targets, in two splits."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import BINARY_CLASSES, Dtype, ImagePreprocessing

#: Length of a token sequence, and size of the vocabulary: 0 pads, 1 starts a sequence, 2 is any
#: word beyond the vocabulary; the others are words, the most frequent first.
SEQUENCE_TOKENS, VOCABULARY_SIZE, UNKNOWN_TOKEN = 256, 10_000, 2

_SPLIT_SEED = 0

#: One array; or an array for each input, by its name, in the order of names, as Keras has them.
Items = Array | Mapping[str, Array]
#: What the outputs of a model of a data set are.
TargetKind = Literal["probabilities", "binary", "multilabel", "values"]
#: The position of each item's class: int64 [items]. Whether each class applies: int64 0 or 1
#: [items, classes]. Values: float32 [items] or [items, values].
Targets = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Items and targets in two splits.

    Items are images (uint8 [items, height, width] or [items, height, width, channels]), vectors
    (float32 [items, features]), token sequences (int32 [items, tokens]), texts (UTF-8 `bytes`
    [items]) or the columns of a table by name (float32 or UTF-8 `bytes` [items, 1]).
    """

    name: str
    #: `binary` and `probabilities` have one class per item, of two or of more.
    kind: TargetKind
    train_items: Items
    train_targets: Targets
    test_items: Items
    test_targets: Targets
    #: Names of the classes, or of the values.
    classes: list[str]
    #: How image files became items; workers do the same.
    image: ImagePreprocessing | None = None
    #: What replaces null and NaN in an input, by its name; workers do the same.
    fill: Mapping[str, float] = field(default_factory=dict)
    #: Files, rows and columns that are not learned from, with the reason.
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> Mapping[str, tuple[Array, Targets]]:
        """Items and targets of `train` and `test`.

        Raises:
            UsageError: Items are the columns of a table.
        """
        return {
            "train": (self._only(self.train_items), self.train_targets),
            "test": (self._only(self.test_items), self.test_targets),
        }

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item.

        Raises:
            UsageError: Items are the columns of a table.
        """
        return self._only(self.train_items).shape[1:]

    @property
    def item_dtype(self) -> Dtype:
        """Dtype of an item: uint8, float32, int32 or string.

        Raises:
            UsageError: Items are the columns of a table.
        """
        dtype = self._only(self.train_items).dtype
        return "string" if dtype.hasobject else cast("Dtype", str(dtype))

    def _only(self, items: Items) -> Array:
        if isinstance(items, Mapping):
            raise UsageError(
                f"the items of {self.name} are columns of a table ({', '.join(items)}), not arrays "
                "of one shape; choose the recipe table or table_regression"
            )
        return items

    @property
    def output_count(self) -> int:
        """Numbers that a model gives per item: one per class or value, and one for two classes."""
        return 1 if self.kind == "binary" else len(self.classes)

    @property
    def train_sha256(self) -> str:
        """Digest of the bytes of the training items and targets."""
        digest = hashlib.sha256()
        for array in (*rows_of(self.train_items).arrays, self.train_targets):
            for part in _bytes_of(array):
                digest.update(part)
        return digest.hexdigest()


def rows_of(items: Items) -> Rows:
    """The items with an array for each input, in the order of their names."""
    if isinstance(items, Mapping):
        return Rows(*(items[name] for name in sorted(items)))
    return Rows(items)


def _bytes_of(array: Array) -> Iterator[bytes | memoryview]:
    """The bytes of an array; of strings their lengths too, so that they cannot run together."""
    if not array.dtype.hasobject:
        yield np.ascontiguousarray(array).data
        return
    texts: list[bytes] = array.ravel().tolist()
    yield np.array([len(text) for text in texts], np.int64).tobytes()
    yield from texts


def kind_of_classes(classes: Sequence[str]) -> TargetKind:
    """The kind of data with one class per item."""
    return "binary" if len(classes) == len(BINARY_CLASSES) else "probabilities"


def image_preprocessing(
    item_shape: Sequence[int], *, resize: Literal["stretch", "crop", "pad"] = "stretch"
) -> ImagePreprocessing:
    """How photographs become images of `item_shape`: turned upright, shrunk with all their pixels.

    Colours are decoded and resized by Pillow, as `keras.utils.load_img` does. Of 16-bit grey that
    function keeps the lower bits, so grey images are decoded as Fornada always did.
    """
    is_grey = len(item_shape) == len(("height", "width")) or item_shape[2] == 1
    return ImagePreprocessing(
        resize=resize,
        antialias=True,
        exif=True,
        color="grayscale" if is_grey else "rgb",
        like="exact" if is_grey else "load_img",
    )


def split_order(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of four fifths of `count` items, and of the others, the same everywhere."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(count)
    train, test = np.split(order, [count * 4 // 5])
    return train, test


def fixed_split(x: Array, y: Array) -> dict[str, Array]:
    """Split into four fifths for training and one for testing, the same everywhere.

    Shuffles: files and folders are often sorted by class.

    Args:
        x: Items.
        y: Targets.

    Returns:
        `x_train`, `y_train`, `x_test` and `y_test`.

    Raises:
        InputError: There are more items than targets, or fewer.
    """
    if len(x) != len(y):
        raise InputError(f"there are {len(x)} items and {len(y)} targets; give one target per item")
    train, test = split_order(len(x))
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
