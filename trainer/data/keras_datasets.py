"""Keras's seven built-in data sets, loaded through `keras.datasets` and its cache."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fornada.formats.items import Array
from model_store.engines.keras_setup import import_keras
from trainer.data import class_names
from trainer.data.dataset import SEQUENCE_TOKENS, VOCABULARY_SIZE, Dataset, kind_of_classes
from trainer.data.keras_cache import CachedFile, CachedFiles, download_timeout

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

#: Items and targets for training, and for testing, as Keras's `load_data` returns them.
_Split = tuple[tuple[Any, Array], tuple[Any, Array]]


@dataclass(frozen=True, kw_only=True, slots=True)
class KerasSource:
    """A data set of `keras.datasets`: its files, and how to read them."""

    files: CachedFiles
    #: The `keras` module → the data set.
    read: Callable[[Any], Dataset]


def load(source: KerasSource) -> Dataset:
    """Load a data set from Keras's cache or from the network.

    Raises:
        DatasetUnavailableError: Not cached and not downloadable, or the cache is damaged.
        MissingExtraError: Keras is not installed.
    """
    source.files.check()
    keras = import_keras()
    try:
        with download_timeout(), contextlib.redirect_stdout(sys.stderr):
            dataset = source.read(keras)
    except MemoryError:
        raise
    except Exception as exc:
        # Keras raises a bare Exception for a failed download.
        raise source.files.error(exc) from exc
    _check(dataset, source.files)
    return dataset


def _check(dataset: Dataset, files: CachedFiles) -> None:
    (train, _), (test, _) = dataset.splits.values()
    if train.shape[1:] != test.shape[1:]:
        raise files.mismatch(f"items of {train.shape}, {test.shape}")
    for items, targets in dataset.splits.values():
        if len(items) == 0 or len(items) != len(targets):
            raise files.mismatch(f"{len(items)} items, {len(targets)} targets")
        if dataset.kind != "values" and not 0 <= targets.min() <= targets.max() < len(
            dataset.classes
        ):
            raise files.mismatch(
                f"labels from {targets.min()} to {targets.max()}, {len(dataset.classes)} classes"
            )


def _boston_housing(keras: Any) -> Dataset:
    (train, train_prices), (test, test_prices) = keras.datasets.boston_housing.load_data()
    return Dataset(
        name="boston_housing",
        kind="values",
        train_items=train.astype(np.float32),
        train_targets=train_prices.astype(np.float32),
        test_items=test.astype(np.float32),
        test_targets=test_prices.astype(np.float32),
        # Medians, in thousands of dollars of the 1970s.
        classes=["price_k_usd"],
    )


def _cifar10(keras: Any) -> Dataset:
    return _labelled("cifar10", keras.datasets.cifar10.load_data(), class_names.CIFAR10)


def _cifar100(keras: Any) -> Dataset:
    split = keras.datasets.cifar100.load_data(label_mode="fine")
    return _labelled("cifar100", split, class_names.CIFAR100)


def _fashion_mnist(keras: Any) -> Dataset:
    split = keras.datasets.fashion_mnist.load_data()
    return _labelled("fashion_mnist", split, class_names.FASHION_MNIST)


def _mnist(keras: Any) -> Dataset:
    return _labelled("mnist", keras.datasets.mnist.load_data(), class_names.DIGITS)


def _imdb(keras: Any) -> Dataset:
    split = keras.datasets.imdb.load_data(num_words=VOCABULARY_SIZE)
    return _labelled("imdb", _padded(keras, split), class_names.SENTIMENTS)


def _reuters(keras: Any) -> Dataset:
    split = keras.datasets.reuters.load_data(num_words=VOCABULARY_SIZE)
    topics = keras.datasets.reuters.get_label_names()
    return _labelled("reuters", _padded(keras, split), topics)


def _padded(keras: Any, split: _Split) -> _Split:
    """Token sequences of one length: short ones get leading zeros, long ones keep their end."""
    (train, train_labels), (test, test_labels) = split
    train, test = (
        keras.utils.pad_sequences(sequences, maxlen=SEQUENCE_TOKENS, dtype="int32")
        for sequences in (train, test)
    )
    return (train, train_labels), (test, test_labels)


def _labelled(name: str, split: _Split, classes: Sequence[str]) -> Dataset:
    (train, train_labels), (test, test_labels) = split
    return Dataset(
        name=name,
        kind=kind_of_classes(classes),
        train_items=train,
        # CIFAR's are [items, 1].
        train_targets=train_labels.reshape(-1).astype(np.int64),
        test_items=test,
        test_targets=test_labels.reshape(-1).astype(np.int64),
        classes=list(classes),
    )


def _google(dataset: str, sha256: str) -> CachedFiles:
    file = CachedFile(name=f"{dataset}.npz", sha256=sha256)
    return CachedFiles(dataset=dataset, files=[file], download_url=_GOOGLE)


def _toronto(dataset: str, *, name: str, served_as: str, sha256: str) -> CachedFiles:
    file = CachedFile(name=name, served_as=served_as, sha256=sha256)
    return CachedFiles(dataset=dataset, files=[file], download_url=_TORONTO)


#: By name. The digests are those that Keras 3.15 checks its downloads against. Fashion-MNIST has
#: none: Keras accepts any file of that format, and reads it without pickle.
SOURCES: Mapping[str, KerasSource] = {
    "boston_housing": KerasSource(
        files=_google(
            "boston_housing", "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"
        ),
        read=_boston_housing,
    ),
    "cifar10": KerasSource(
        files=_toronto(
            "cifar10",
            name="cifar-10-batches-py-target_archive",
            served_as="cifar-10-python.tar.gz",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
        read=_cifar10,
    ),
    "cifar100": KerasSource(
        files=_toronto(
            "cifar100",
            name="cifar-100-python-target_archive",
            served_as="cifar-100-python.tar.gz",
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
        read=_cifar100,
    ),
    "fashion_mnist": KerasSource(
        files=CachedFiles(
            dataset="fashion_mnist",
            files=[
                CachedFile(name="train-images-idx3-ubyte.gz"),
                CachedFile(name="train-labels-idx1-ubyte.gz"),
                CachedFile(name="t10k-images-idx3-ubyte.gz"),
                CachedFile(name="t10k-labels-idx1-ubyte.gz"),
            ],
            download_url=_GOOGLE,
            folder="datasets/fashion-mnist",
        ),
        read=_fashion_mnist,
    ),
    "imdb": KerasSource(
        files=_google("imdb", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
        read=_imdb,
    ),
    "mnist": KerasSource(
        files=_google("mnist", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"),
        read=_mnist,
    ),
    "reuters": KerasSource(
        files=_google(
            "reuters", "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
        ),
        read=_reuters,
    ),
}
