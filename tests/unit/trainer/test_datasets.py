"""Data sets load whole, or say within seconds what is missing."""

import gzip
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fornada.errors import DatasetUnavailableError, UsageError
from trainer import datasets

_FILES = {
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download host that refuses the connection."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(datasets, "DOWNLOAD_URL", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A download host that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(datasets, "DOWNLOAD_URL", f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(datasets, "_PROBE_TIMEOUT_S", 0.2)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield


def test_fashion_mnist_comes_from_the_keras_cache(sample: Path, no_network: None) -> None:
    dataset = datasets.load("fashion_mnist")

    assert (480, 28, 28) == dataset.train_items.shape
    assert (120, 28, 28) == dataset.test_items.shape
    assert np.uint8 == dataset.train_items.dtype
    assert np.int64 == dataset.train_targets.dtype
    assert ("T-shirt/top", "Ankle boot") == (dataset.classes[0], dataset.classes[9])
    assert set(range(10)) == set(dataset.test_targets.tolist())
    assert (28, 28) == dataset.item_shape
    assert 64 == len(dataset.train_sha256)


def test_digits_need_no_network_and_are_split_alike_always(no_network: None) -> None:
    first, second = datasets.load("digits"), datasets.load("digits")

    assert (1437, 8, 8) == first.train_items.shape
    assert (360, 8, 8) == first.test_items.shape
    assert (np.uint8, 0, 255) == (
        first.train_items.dtype,
        first.train_items.min(),
        first.train_items.max(),
    )
    assert [str(digit) for digit in range(10)] == first.classes
    np.testing.assert_array_equal(first.test_items, second.test_items)
    np.testing.assert_array_equal(first.test_targets, second.test_targets)
    assert first.train_sha256 == second.train_sha256


def test_an_unknown_data_set_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'imagenet'; there are: fashion_mnist, digits"):
        datasets.load("imagenet")


def test_without_cache_and_network_the_error_says_what_to_do(
    keras_home: Path, no_network: None
) -> None:
    with pytest.raises(DatasetUnavailableError) as error:
        datasets.load("fashion_mnist")

    message = str(error.value)
    assert str(keras_home / "datasets/fashion-mnist") in message
    assert all(file in message for file in _FILES)
    assert "--dataset digits" in message
    assert 1 == error.value.exit_code


def test_a_network_that_swallows_everything_ends_soon(keras_home: Path, black_hole: None) -> None:
    began = time.monotonic()

    with pytest.raises(DatasetUnavailableError, match="does not answer"):
        datasets.load("fashion_mnist")

    assert time.monotonic() - began < 3


def test_one_missing_file_is_named_alone(sample: Path, no_network: None) -> None:
    (sample / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DatasetUnavailableError, match="1 of 4 files missing") as error:
        datasets.load("fashion_mnist")

    assert "put t10k-labels-idx1-ubyte.gz into that folder" in str(error.value)


@pytest.mark.parametrize("file", sorted(_FILES))
def test_a_truncated_file_is_named(sample: Path, no_network: None, file: str) -> None:
    path = sample / file
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DatasetUnavailableError) as error:
        datasets.load("fashion_mnist")

    assert f"{path} is truncated or damaged; delete it" in str(error.value)


def test_a_web_page_in_place_of_a_file_is_named(sample: Path, no_network: None) -> None:
    path = sample / "train-images-idx3-ubyte.gz"
    path.write_text("<html>please log in</html>")

    with pytest.raises(DatasetUnavailableError, match="truncated or damaged; delete it"):
        datasets.load("fashion_mnist")


def test_files_that_do_not_belong_together_are_refused(sample: Path, no_network: None) -> None:
    labels = sample / "train-labels-idx1-ubyte.gz"
    labels.write_bytes((sample / "t10k-labels-idx1-ubyte.gz").read_bytes())

    with pytest.raises(DatasetUnavailableError, match="do not fit together"):
        datasets.load("fashion_mnist")


def test_labels_outside_the_classes_are_refused(sample: Path, no_network: None) -> None:
    labels = sample / "t10k-labels-idx1-ubyte.gz"
    data = bytearray(gzip.decompress(labels.read_bytes()))
    data[-1] = 10
    labels.write_bytes(gzip.compress(bytes(data)))

    with pytest.raises(DatasetUnavailableError, match="do not fit together"):
        datasets.load("fashion_mnist")


def test_a_host_that_has_no_page_there_counts_as_reachable(
    sample: Path, monkeypatch: pytest.MonkeyPatch, moto_endpoint: str
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")

    assert datasets._reachable(f"{moto_endpoint}/no-such-bucket/", timeout_s=5)
