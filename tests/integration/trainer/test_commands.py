"""The training commands as a user types them, against a real S3 server."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist-sample"


@pytest.fixture
def keras_home(tmp_path: Path) -> Path:
    """A Keras cache that holds the Fashion-MNIST sample."""
    if not _SAMPLE.is_dir():
        pytest.skip("the Fashion-MNIST sample is not here")
    folder = tmp_path / "keras" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for file in _SAMPLE.glob("*.gz"):
        shutil.copy(file, folder)
    return tmp_path / "keras"


def _fornada(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fornada.cli import main; main()", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def _answer(*arguments: str, environ: dict[str, str]) -> Any:
    ended = _fornada(*arguments, "--json", environ=environ)
    assert 0 == ended.returncode, ended.stderr
    return json.loads(ended.stdout)


def _error(*arguments: str, environ: dict[str, str], code: int) -> str:
    ended = _fornada(*arguments, environ=environ)
    assert code == ended.returncode, ended.stderr
    assert "" == ended.stdout
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_a_model_is_trained_published_shown_and_evaluated(
    environ: dict[str, str], keras_home: Path, tmp_path: Path
) -> None:
    environ = {**environ, "KERAS_HOME": str(keras_home)}

    # when a model is trained
    trained = _answer(
        *("train", "--dataset", "fashion_mnist", "--name", "fashion-mnist", "--epochs", "1"),
        *("--batch-size", "16", "--promote", "prod"),
        environ=environ,
    )

    # then it is listed and shown
    listed = _answer("models", "list", environ=environ)["models"]
    assert [("fashion-mnist", [1], {"prod": 1}, trained["digest"])] == [
        (entry["name"], entry["versions"], entry["aliases"], entry["digest"]) for entry in listed
    ]
    shown = _answer("models", "show", "fashion-mnist@prod", environ=environ)
    assert ("fashion-mnist:1", ["prod"]) == (shown["model"], shown["aliases"])
    assert trained["metrics"] == shown["manifest"]["metrics"]
    assert "models/fashion-mnist/1/model.keras" == trained["artifact"]
    table = _fornada("models", "list", environ=environ)
    assert "fashion-mnist:1" in table.stdout
    text = _fornada("models", "show", "fashion-mnist", environ=environ).stdout
    assert trained["digest"] in text
    assert "T-shirt/top" in text

    # and training if it is missing finds it, and trains nothing
    again = _answer(
        *("train", "--dataset", "fashion_mnist", "--name", "fashion-mnist"),
        *("--promote", "prod", "--if-missing"),
        environ=environ,
    )
    assert trained["model"] == again["model"]

    # and a data set and its evaluation are written
    folder = tmp_path / "test-split"
    written = _answer("dataset", "fashion_mnist", "--output", str(folder), environ=environ)
    assert 120 == written["items"]
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    probabilities = np.zeros((120, 10), np.float32)
    probabilities[np.arange(120), labels] = 1
    probabilities[0] = np.nan
    np.save(tmp_path / "probabilities.npy", probabilities, allow_pickle=False)
    evaluation = _answer(
        *("evaluate", "--images", str(folder)),
        *("--probabilities", str(tmp_path / "probabilities.npy")),
        *("--picture", str(tmp_path / "predictions.png")),
        environ=environ,
    )
    assert (119 / 120, 1) == (evaluation["accuracy"], evaluation["failed"])
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_training_off_a_terminal_logs_a_line_an_epoch_and_nothing_of_tensorflow(
    environ: dict[str, str],
) -> None:
    ended = _fornada(
        *("train", "--dataset", "digits", "--name", "digits", "--epochs", "2"), environ=environ
    )

    assert 0 == ended.returncode, ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [("epoch ended", 1, 2), ("epoch ended", 2, 2)] == [
        (event["event"], event["epoch"], event["epochs"]) for event in events
    ]
    assert "published      digits:1" in ended.stdout
    assert "test accuracy  0." in ended.stdout


def test_fashion_mnist_without_a_network_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environ = {
        **{
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        },
        "KERAS_HOME": str(tmp_path / "empty"),
        "https_proxy": proxy,
    }

    error = _error(
        *("train", "--dataset", "fashion_mnist", "--name", "m"),
        environ={**environ, "FORNADA_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
        code=1,
    )

    assert "data set fashion_mnist is not cached" in error
    assert "--dataset digits" in error


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environ = {
        **os.environ,
        "FORNADA_S3_ENDPOINT_URL": endpoint,
        "FORNADA_S3_ACCESS_KEY_ID": "anybody",
        "FORNADA_S3_SECRET_ACCESS_KEY": "anything",
    }

    for arguments in (
        ("train", "--dataset", "digits", "--name", "m"),
        ("models", "list"),
        ("models", "show", "m"),
    ):
        error = _error(*arguments, environ=environ, code=1)
        assert f"object store {endpoint} cannot be reached" in error


def test_an_unknown_model_and_a_wrong_reference_are_one_line(environ: dict[str, str]) -> None:
    assert "no model 'x'; there are: none" in _error("models", "show", "x", environ=environ, code=2)
    assert "'x:y' is not a model" in _error("models", "show", "x:y", environ=environ, code=2)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "images.npy").symlink_to("/dev/full")

    error = _error(
        *("dataset", "digits", "--output", str(tmp_path)), environ=dict(os.environ), code=1
    )

    assert "images.npy cannot be written (No space left on device)" in error
    assert ["images.npy"] == [path.name for path in tmp_path.iterdir()]


def test_files_that_do_not_belong_together_are_one_line(tmp_path: Path) -> None:
    environ = dict(os.environ)
    _answer("dataset", "digits", "--output", str(tmp_path), environ=environ)
    np.save(tmp_path / "p.npy", np.zeros((3, 10), np.float32), allow_pickle=False)
    evaluate = ("evaluate", "--images", str(tmp_path), "--probabilities")

    error = _error(*evaluate, str(tmp_path / "p.npy"), environ=environ, code=2)
    assert "the probabilities are float32 (3, 10), and 360 labels" in error
    error = _error(*evaluate, str(tmp_path / "none.npy"), environ=environ, code=2)
    assert "none.npy cannot be read (No such file or directory)" in error
    error = _error(*evaluate, str(tmp_path / "classes.json"), environ=environ, code=2)
    assert "is not a readable .npy file" in error
