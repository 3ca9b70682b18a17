"""Data sets load completely, or report within seconds what is missing."""

import dataclasses
import gzip
import importlib
import inspect
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fornada.errors import DatasetUnavailableError, UsageError
from model_store.engines import keras_setup
from trainer.data import keras_cache, keras_datasets
from trainer.data.catalog import load_dataset

_FILES = {
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
}
#: Data sets with a known sha256.
_DIGESTED = sorted(set(keras_datasets.SOURCES) - {"fashion_mnist"})


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Download hosts that refuse connections."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    _download_from(monkeypatch, f"http://127.0.0.1:{port}/")


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Download hosts that accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _download_from(monkeypatch, f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(keras_cache, "_PROBE_TIMEOUT_S", 0.2)
        yield


def _download_from(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sources = {
        name: dataclasses.replace(source, files=dataclasses.replace(source.files, download_url=url))
        for name, source in keras_datasets.SOURCES.items()
    }
    monkeypatch.setattr(keras_datasets, "SOURCES", sources)


def test_fashion_mnist_comes_from_the_keras_cache(sample: Path, no_network: None) -> None:
    dataset = load_dataset("fashion_mnist")

    assert (480, 28, 28) == dataset.train_items.shape
    assert (120, 28, 28) == dataset.test_items.shape
    assert np.uint8 == dataset.train_items.dtype
    assert np.int64 == dataset.train_targets.dtype
    assert ("T-shirt/top", "Ankle boot") == (dataset.classes[0], dataset.classes[9])
    assert set(range(10)) == set(dataset.test_targets.tolist())
    assert (28, 28) == dataset.item_shape
    assert 64 == len(dataset.train_sha256)


def test_boston_housing_is_vectors_and_prices(
    put_small: Callable[[str], Path], no_network: None
) -> None:
    put_small("boston_housing")

    dataset = load_dataset("boston_housing")

    assert ("values", ["price_k_usd"], 1) == (
        dataset.kind,
        dataset.classes,
        dataset.output_count,
    )
    assert ((13,), "float32") == (dataset.item_shape, dataset.item_dtype)
    assert (320, 80) == (len(dataset.train_items), len(dataset.test_items))
    assert ((320,), np.float32) == (dataset.train_targets.shape, dataset.train_targets.dtype)


def test_images_have_flat_labels(put_small: Callable[[str], Path], no_network: None) -> None:
    for name, shape, items, some in (
        # Keras 3.15 makes 50,000 of them, whatever is there.
        ("cifar10", (32, 32, 3), (50_000, 1), {0: "airplane", 9: "truck"}),
        ("cifar100", (32, 32, 3), (100, 50), {0: "apple", 53: "orange", 99: "worm"}),
        ("mnist", (28, 28), (40, 20), {0: "0", 9: "9"}),
    ):
        put_small(name)

        dataset = load_dataset(name)

        assert (shape, "uint8") == (dataset.item_shape, dataset.item_dtype)
        assert items == (len(dataset.train_items), len(dataset.test_items))
        assert ((items[0],), np.int64) == (dataset.train_targets.shape, dataset.train_targets.dtype)
        assert some == {label: dataset.classes[label] for label in some}
        assert max(some) + 1 == len(set(dataset.classes)) == dataset.output_count


def test_texts_are_token_sequences_of_one_length(
    put_small: Callable[[str], Path], no_network: None
) -> None:
    for name, some in (
        ("imdb", {0: "negative", 1: "positive"}),
        ("reuters", {0: "cocoa", 3: "earn", 45: "lead"}),
    ):
        put_small(name)

        dataset = load_dataset(name)

        assert ((256,), "int32") == (dataset.item_shape, dataset.item_dtype)
        assert some == {label: dataset.classes[label] for label in some}
        assert max(some) + 1 == len(dataset.classes)
        tokens = dataset.train_items
        # Padding, the token that starts a review, and words beyond the vocabulary.
        assert {0, 1, 2} <= set(tokens.ravel().tolist())
        assert 9_999 >= tokens.max()
        # Zeros before a short sequence, then the token that starts it.
        short = next(row for row in tokens if row[0] == 0)
        assert 1 == short[np.flatnonzero(short)[0]]


def test_a_file_that_is_not_the_known_one_is_never_opened(
    put_small: Callable[[str], Path], no_network: None
) -> None:
    for name in _DIGESTED:
        # given a file that loads, and has one byte more
        path = put_small(name)
        path.write_bytes(path.read_bytes() + b" ")

        # when
        with pytest.raises(DatasetUnavailableError, match="not the file that Keras publi") as error:
            load_dataset(name)

        # then
        assert f"{path} is" in str(error.value)
        # Keras would have deleted it when its download failed.
        assert path.exists()


def test_the_known_file_is_the_one_that_this_release_of_keras_downloads() -> None:
    keras_setup.import_keras()
    for name in _DIGESTED:
        (file,) = keras_datasets.SOURCES[name].files.files

        source = inspect.getsource(importlib.import_module(f"keras.src.datasets.{name}"))

        assert f'"{file.sha256}"' in source
        assert file.name.removesuffix("_archive") in source
        assert keras_datasets.SOURCES[name].files.download_url in source


def test_a_missing_data_set_says_which_file_goes_where(keras_home: Path, no_network: None) -> None:
    archives = {
        "cifar10": "cifar-10-python.tar.gz as cifar-10-batches-py-target_archive",
        "cifar100": "cifar-100-python.tar.gz as cifar-100-python-target_archive",
    }
    for name in _DIGESTED:
        with pytest.raises(DatasetUnavailableError) as error:
            load_dataset(name)

        missing = f"is not cached (1 of 1 files missing in {keras_home}/datasets)"
        assert f"data set {name} {missing}" in str(error.value)
        assert f"put {archives.get(name, f'{name}.npz')} into" in str(error.value)
        assert "--dataset digits" in str(error.value)


def test_digits_need_no_network_and_have_a_fixed_split(no_network: None) -> None:
    first, second = load_dataset("digits"), load_dataset("digits")

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


def test_an_unknown_data_set_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'imagenet'; choose from: boston_housing, .*, digits"):
        load_dataset("imagenet")


def test_a_silent_network_is_given_up(keras_home: Path, black_hole: None) -> None:
    with pytest.raises(DatasetUnavailableError, match="does not answer"):
        load_dataset("fashion_mnist")


def test_one_missing_file_is_named_alone(sample: Path, no_network: None) -> None:
    (sample / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DatasetUnavailableError, match="1 of 4 files missing") as error:
        load_dataset("fashion_mnist")

    assert "put t10k-labels-idx1-ubyte.gz into that folder" in str(error.value)


def test_a_truncated_file_or_a_web_page_in_its_place_is_named(
    sample: Path, no_network: None
) -> None:
    for file in sorted(_FILES):
        path = sample / file
        whole = path.read_bytes()
        for damaged in (whole[:-20], b"<html>please log in</html>"):
            path.write_bytes(damaged)

            with pytest.raises(DatasetUnavailableError) as error:
                load_dataset("fashion_mnist")

            assert f"{path} is truncated or damaged; delete it" in str(error.value)
        path.write_bytes(whole)


def test_files_that_do_not_belong_together_and_labels_of_no_class_are_refused(
    sample: Path, no_network: None
) -> None:
    tested = (sample / "t10k-labels-idx1-ubyte.gz").read_bytes()
    wrong = gzip.compress(gzip.decompress(tested)[:-1] + b"\x0a")
    for name, data in (
        ("t10k-labels-idx1-ubyte.gz", wrong),
        ("train-labels-idx1-ubyte.gz", tested),
    ):
        (sample / name).write_bytes(data)

        with pytest.raises(DatasetUnavailableError, match="do not belong together"):
            load_dataset("fashion_mnist")


def test_a_host_without_such_a_page_is_reachable(
    sample: Path, monkeypatch: pytest.MonkeyPatch, moto_endpoint: str
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")

    assert keras_cache.reachable(f"{moto_endpoint}/no-such-bucket/", timeout_s=60)
