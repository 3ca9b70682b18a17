"""The built-in data sets by name: Keras's seven, and scikit-learn's digits."""

from typing import Any

import numpy as np

from fornada.errors import MissingExtraError, UsageError
from trainer.data import class_names, keras_datasets
from trainer.data.dataset import Dataset, fixed_split

DATASET_NAMES = (*keras_datasets.SOURCES, "digits")


def load_dataset(name: str) -> Dataset:
    """Load one of `DATASET_NAMES` into memory.

    Keras's come through `keras.datasets`: from its cache, or from the network. `digits` comes
    with scikit-learn: 1,797 handwritten digits of 8x8 pixels.

    Raises:
        DatasetUnavailableError: Not cached and not downloadable, or the cache is damaged.
        UsageError: No data set has this name.
        MissingExtraError: Keras or scikit-learn is not installed.
    """
    if name == "digits":
        return _digits()
    if name not in keras_datasets.SOURCES:
        raise UsageError(f"there is no data set {name!r}; choose from: {', '.join(DATASET_NAMES)}")
    return keras_datasets.load(keras_datasets.SOURCES[name])


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds, an extra
    except ImportError as exc:
        raise MissingExtraError(
            "the data set digits needs scikit-learn; run: pip install 'fornada[train]'"
        ) from exc
    bunch: Any = load_digits()
    # Pixels are counts from 0 to 16; images have 0 to 255.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    # scikit-learn gives no split.
    split = fixed_split(images, bunch.target)
    return Dataset(
        name="digits",
        kind="probabilities",
        train_items=split["x_train"],
        train_targets=split["y_train"].astype(np.int64),
        test_items=split["x_test"],
        test_targets=split["y_test"].astype(np.int64),
        classes=list(class_names.DIGITS),
    )
