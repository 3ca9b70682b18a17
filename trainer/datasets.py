"""The data sets that a model can be trained on, each loaded whole as uint8 images."""

import contextlib
import gzip
import os
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fornada.errors import DatasetUnavailableError, MissingExtraError, UsageError
from model_store.keras_codec import import_keras
from trainer.dataset import Dataset

#: Where Keras downloads its data sets from.
DOWNLOAD_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_PROBE_TIMEOUT_S = 3.0
#: Longest silence of the server while a file comes in.
_DOWNLOAD_TIMEOUT_S = 15.0
_DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _KerasSource:
    """A data set of `keras.datasets`: where its files lie in the cache, and its classes."""

    folder: str
    files: tuple[str, ...]
    classes: tuple[str, ...]


_KERAS_SOURCES = {
    "fashion_mnist": _KerasSource(
        folder="datasets/fashion-mnist",
        files=(
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}

NAMES = (*_KERAS_SOURCES, "digits")


def load(name: str) -> Dataset:
    """The data set called `name`, one of `NAMES`.

    `fashion_mnist` comes through `keras.datasets`: from its cache, or from the network. `digits`
    is scikit-learn's, which is installed with its data: 1,797 handwritten digits of 8x8 pixels.

    Raises:
        DatasetUnavailableError: Neither cached nor to be downloaded, or the cache is damaged.
        UsageError: No data set has this name.
        MissingExtraError: Keras or scikit-learn is not installed.
    """
    if name == "digits":
        return _digits()
    if name not in _KERAS_SOURCES:
        raise UsageError(f"no data set is called {name!r}; there are: {', '.join(NAMES)}")
    return _from_keras(name, _KERAS_SOURCES[name])


def _from_keras(name: str, source: _KerasSource) -> Dataset:
    folder = _keras_cache() / source.folder
    missing = [file for file in source.files if not (folder / file).exists()]
    if missing and not _reachable(DOWNLOAD_URL, timeout_s=_PROBE_TIMEOUT_S):
        raise DatasetUnavailableError(_unavailable(name, source, folder, missing))
    keras = import_keras()
    try:
        with _download_timeout(), contextlib.redirect_stdout(sys.stderr):
            train, test = getattr(keras.datasets, name).load_data()
    except Exception as exc:
        # Keras raises a bare Exception for a failed download.
        raise _load_error(name, source, folder, exc) from exc
    dataset = Dataset(
        name=name,
        task="classification",
        train_items=train[0],
        train_targets=train[1].astype(np.int64),
        test_items=test[0],
        test_targets=test[1].astype(np.int64),
        classes=list(source.classes),
    )
    _check(dataset, folder)
    return dataset


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - seconds, and only to train
    except ImportError as exc:
        raise MissingExtraError(
            "the data set digits needs scikit-learn; run: pip install 'fornada[train]'"
        ) from exc
    bunch: Any = load_digits()
    # The pixels are counts from 0 to 16; spread over 0 to 255 they are images like the others.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    # scikit-learn gives no split. Ours is the same everywhere and always.
    order = np.random.default_rng(_DIGITS_SPLIT_SEED).permutation(len(images))
    train, test = np.split(order, [len(order) * 4 // 5])
    return Dataset(
        name="digits",
        task="classification",
        train_items=images[train],
        train_targets=labels[train],
        test_items=images[test],
        test_targets=labels[test],
        classes=[str(digit) for digit in range(10)],
    )


def _keras_cache() -> Path:
    """The folder in which Keras looks for its data sets, by Keras's own rules."""
    home = Path("~").expanduser()
    if "KERAS_HOME" in os.environ:
        cache = Path(os.environ["KERAS_HOME"]).expanduser()
    else:
        cache = (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"  # noqa: S108 - Keras's choice
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if os.access(cache, os.W_OK):
        return cache
    # A cache that cannot be written is not read either.
    temporary = Path("/tmp")  # noqa: S108 - Keras's choice
    return (temporary if temporary.is_dir() else Path(tempfile.gettempdir())) / ".keras"


def _reachable(url: str, *, timeout_s: float) -> bool:
    """Whether the host of `url` answers within `timeout_s`, through a proxy if one is set."""
    answers: list[bool] = []

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - a constant, https
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
                answers.append(True)
        except urllib.error.HTTPError as exc:
            # The folder itself has no page. A proxy that refuses says so with 407 or 5xx.
            answers.append(exc.code in {400, 403, 404, 405})
        except (OSError, ValueError):
            answers.append(False)

    # Looking up a name has no time limit of its own, hence a thread that can be left behind.
    thread = threading.Thread(target=probe, daemon=True, name="dataset-probe")
    thread.start()
    thread.join(timeout_s)
    return any(answers)


@contextlib.contextmanager
def _download_timeout() -> Iterator[None]:
    """End downloads whose server falls silent; Keras sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unavailable(name: str, source: _KerasSource, folder: Path, missing: list[str]) -> str:
    return (
        f"data set {name} is not cached ({len(missing)} of {len(source.files)} files missing in "
        f"{folder}) and {DOWNLOAD_URL} does not answer; put {', '.join(missing)} into that "
        "folder, or use --dataset digits, which needs no network"
    )


def _load_error(
    name: str, source: _KerasSource, folder: Path, exc: Exception
) -> DatasetUnavailableError:
    for file in source.files:
        path = folder / file
        if path.exists() and not _gzip_is_whole(path):
            return DatasetUnavailableError(
                f"{path} is truncated or damaged; delete it, and it is downloaded again"
            )
    if not all((folder / file).exists() for file in source.files):
        missing = [file for file in source.files if not (folder / file).exists()]
        return DatasetUnavailableError(_unavailable(name, source, folder, missing))
    first_line = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
    return DatasetUnavailableError(
        f"the files of data set {name} in {folder} do not fit together ({first_line}); delete "
        "them, and they are downloaded again"
    )


def _gzip_is_whole(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1024 * 1024):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _check(dataset: Dataset, folder: Path) -> None:
    for images, labels in (
        (dataset.train_items, dataset.train_targets),
        (dataset.test_items, dataset.test_targets),
    ):
        if len(images) == 0 or len(images) != len(labels) or labels.max() >= len(dataset.classes):
            raise DatasetUnavailableError(
                f"data set {dataset.name} in {folder} has {len(images)} images, {len(labels)} "
                f"labels and {len(dataset.classes)} classes that do not fit together; delete the "
                "files, and they are downloaded again"
            )
