"""Small synthetic files in the formats of Keras's data sets, with something to learn."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

#: Rank of the rarest word; ranks above the vocabulary's size are unknown words.
_RAREST_WORD = 30_000


def boston_housing(folder: Path, *, items: int = 400) -> Path:
    """`boston_housing.npz`: 13 features of different scales, and a price that depends on them."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(items, 13)) * np.logspace(-1, 2, 13)
    prices = 22 + features @ (rng.normal(size=13) / np.logspace(-1, 2, 13))
    return _npz(folder / "boston_housing.npz", x=features, y=prices)


def mnist(folder: Path, *, items: int = 40) -> Path:
    """`mnist.npz`: brighter for a higher digit."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", items), ("test", items // 2)):
        digits = np.arange(count, dtype=np.uint8) % 10
        noise = rng.integers(0, 20, (count, 28, 28), np.uint8)
        arrays[f"x_{split}"] = noise + digits[:, None, None] * 20
        arrays[f"y_{split}"] = digits
    return _npz(folder / "mnist.npz", **arrays)


def imdb(folder: Path, *, items: int = 40) -> Path:
    """`imdb.npz`: reviews of many lengths; word 10 is in the good ones, word 20 in the bad."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        labels = rng.integers(0, 2, items)
        arrays[f"x_{split}"] = _ragged(
            [*_words(rng, rng.integers(5, 400)), 10 if label else 20] for label in labels
        )
        arrays[f"y_{split}"] = labels
    return _npz(folder / "imdb.npz", **arrays)


def reuters(folder: Path, *, items: int = 92) -> Path:
    """`reuters.npz`: newswires of 46 topics, each with its own word."""
    rng = np.random.default_rng(0)
    topics = np.arange(items) % 46
    wires = _ragged([*_words(rng, rng.integers(5, 100)), 100 + int(topic)] for topic in topics)
    return _npz(folder / "reuters.npz", x=wires, y=topics)


def cifar10(folder: Path) -> Path:
    """The archive of CIFAR-10, one image per batch: NumPy broadcasts it to Keras's 10,000."""
    rng = np.random.default_rng(0)
    members = {}
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        members[f"cifar-10-batches-py/{name}"] = _batch(rng, labels=[number])
    return _tar(folder / "cifar-10-batches-py-target_archive", members)


def cifar100(folder: Path, *, items: int = 100) -> Path:
    """The archive of CIFAR-100."""
    rng = np.random.default_rng(0)
    members = {}
    for name, count in (("train", items), ("test", items // 2)):
        fine = [number % 100 for number in range(count)]
        batch = _batch(rng, fine_labels=fine, coarse_labels=[label // 5 for label in fine])
        members[f"cifar-100-python/{name}"] = batch
    return _tar(folder / "cifar-100-python-target_archive", members)


def _words(rng: np.random.Generator, count: int) -> list[int]:
    return (rng.integers(30, _RAREST_WORD, count)).tolist()


def _ragged(sequences: Any) -> Any:
    rows = list(sequences)
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def _batch(rng: np.random.Generator, **labels: list[int]) -> bytes:
    count = len(next(iter(labels.values())))
    data = rng.integers(0, 256, (count, 3 * 32 * 32), np.uint8)
    # As Python 2 wrote them: the names are bytes.
    batch = {b"data": data, **{name.encode(): numbers for name, numbers in labels.items()}}
    return pickle.dumps(batch, protocol=4)


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


MAKERS = {
    "boston_housing": boston_housing,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imdb": imdb,
    "mnist": mnist,
    "reuters": reuters,
}
