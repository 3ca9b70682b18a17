"""What a model is trained and tested on: items and targets, in two splits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.records import Task
from fornada.tensors import Dtype

#: Length of a token sequence, and size of the vocabulary: 0 pads, 1 starts a sequence, 2 is any
#: word beyond the vocabulary; the others are words, the most frequent first.
SEQUENCE_TOKENS, VOCABULARY_SIZE, UNKNOWN_TOKEN = 256, 10_000, 2

_SPLIT_SEED = 0

#: int64 [items]: the position of each item's class. float32 [items]: the value of each item.
Targets = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Items and targets in two splits.

    Items are images (uint8 [items, height, width] or [items, height, width, channels]), vectors
    (float32 [items, features]) or token sequences (int32 [items, tokens]).
    """

    name: str
    task: Task
    train_items: Array
    #: Classification: int64 [items], positions in `classes`. Regression: float32 [items].
    train_targets: Targets
    test_items: Array
    test_targets: Targets
    #: Names of the outputs: the classes, or the one value of a regression.
    classes: list[str]

    @property
    def splits(self) -> Mapping[str, tuple[Array, Targets]]:
        """Items and targets of `train` and `test`."""
        return {
            "train": (self.train_items, self.train_targets),
            "test": (self.test_items, self.test_targets),
        }

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self.train_items.shape[1:]

    @property
    def item_dtype(self) -> Dtype:
        """Dtype of an item: uint8, float32 or int32."""
        return cast("Dtype", str(self.train_items.dtype))

    @property
    def output_count(self) -> int:
        """Outputs of a model per item: one per class, or one value."""
        return len(self.classes)

    @property
    def train_sha256(self) -> str:
        """Digest of the bytes of the training items and targets."""
        digest = hashlib.sha256(np.ascontiguousarray(self.train_items).data)
        digest.update(np.ascontiguousarray(self.train_targets).data)
        return digest.hexdigest()


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
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(x))
    train, test = np.split(order, [len(x) * 4 // 5])
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
