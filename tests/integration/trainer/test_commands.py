"""The training commands as a user types them, against a real S3 server."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
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
        [sys.executable, "-c", "from fornada.commands.router import main; main()", *arguments],
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


def test_values_are_evaluated_and_drawn(tmp_path: Path) -> None:
    # given five items, of which one has no result
    targets = np.array([10, 20, 30, 40, 50], np.float32)
    values = np.array([[11], [19], [30], [np.nan], [54]], np.float32)
    np.save(tmp_path / "items.npy", np.zeros((5, 13), np.float32), allow_pickle=False)
    np.save(tmp_path / "targets.npy", targets, allow_pickle=False)
    np.save(tmp_path / "values.npy", values, allow_pickle=False)
    (tmp_path / "classes.json").write_text('["price_k_usd"]')

    # when
    ended = _fornada(
        *("evaluate", "--items", str(tmp_path), "--values", str(tmp_path / "values.npy")),
        *("--picture", str(tmp_path / "prices.png")),
        environ=dict(os.environ),
    )

    # then
    assert 0 == ended.returncode, ended.stderr
    lines = ended.stdout.splitlines()
    assert "price_k_usd of 5 items, 1 without a result" == lines[0]
    assert "mean absolute error      1.5000" == lines[1]
    assert "root mean squared error  2.1213" == lines[2]
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")


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


_NETWORK = """
import keras

def network(item_shape, output_count):
    return keras.Sequential([
        keras.Input(item_shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(output_count, activation="softmax"),
    ])
"""


def test_a_training_that_is_killed_goes_on_to_the_same_model(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given what comes of it undisturbed
    plan = ("--dataset", "digits", "--epochs", "12", "--batch-size", "32", "--keep-best")
    undisturbed = _answer("train", *plan, "--name", "undisturbed", environ=environ)
    begin = ("train", *plan, "--name", "killed", "--checkpoint", str(tmp_path / "kept"))

    # when it is killed after some epochs
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", "from fornada.commands.router import main; main()", *begin],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=log,
        ) as process,
    ):
        wait_until(lambda: (tmp_path / "log").read_text().count("epoch ended") > 1, timeout_s=90)
        process.kill()
    epochs_done = (tmp_path / "log").read_text().count("epoch ended")
    assert epochs_done < 12
    assert "no model 'killed'" in _error("models", "show", "killed", environ=environ, code=2)
    ended = _fornada(*begin, "--json", environ=environ)

    # then
    assert 0 == ended.returncode, ended.stderr
    answer = json.loads(ended.stdout)
    epochs = [json.loads(line)["epoch"] for line in ended.stderr.splitlines()]
    assert epochs == list(range(epochs[0], 13))
    assert 1 < epochs[0] <= epochs_done + 1
    assert (undisturbed["digest"], undisturbed["metrics"]) == (
        answer["digest"],
        answer["metrics"],
    )
    assert [] == list((tmp_path / "kept").iterdir())


def test_own_data_own_network_and_a_file_of_options(
    environ: dict[str, str], tmp_path: Path
) -> None:
    # given
    _answer("dataset", "digits", "--split", "train", "--output", str(tmp_path), environ=environ)
    np.savez(
        tmp_path / "my-digits.npz",
        allow_pickle=False,
        x=np.load(tmp_path / "images.npy"),
        y=np.load(tmp_path / "labels.npy"),
    )
    (tmp_path / "networks.py").write_text(_NETWORK)
    (tmp_path / "train.yaml").write_text(
        f"data: {tmp_path / 'my-digits.npz'}\nrecipe: networks:network\nepochs: 9\n"
        "optimizer: sgd\nlearning_rate: 0.1\n"
    )
    environ = {**environ, "PYTHONPATH": str(tmp_path)}

    # when
    trained = _answer(
        *("train", "--config", str(tmp_path / "train.yaml"), "--epochs", "2"), environ=environ
    )

    # then
    assert "my-digits:1" == trained["model"]
    training = _answer("models", "show", "my-digits", environ=environ)["manifest"]["training"]
    assert ("my-digits", "networks:network") == (training["dataset"], training["recipe"])
    assert {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1}.items() <= training[
        "parameters"
    ].items()
    assert "code of its own" in training["not_reproducible_because"]


def test_gates_and_no_better_model_publish_nothing(environ: dict[str, str]) -> None:
    train = ("train", "--dataset", "digits", "--name", "gated", "--epochs", "1")
    first = _answer(*train, "--gate", "test_accuracy>=0.2", environ=environ)

    error = _error(*train, "--gate", "test_accuracy>=0.999", environ=environ, code=1)
    assert "the new gated is not published: test_accuracy is 0." in error
    again = _answer(*train, "--register-only-if-better", environ=environ)
    assert again["model"] is None
    assert "no better than" in again["reason"]
    shown = _answer("models", "show", "gated", environ=environ)
    assert first["model"] == shown["model"]


def test_mistakes_in_the_options_are_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("dataset: digits\nepoch: 3\n")
    digits = ("train", "--dataset", "digits", "--name", "m")

    for arguments, fact in (
        (("train",), "say what to learn, and one thing"),
        ((*digits, "--data", "x.npz"), "say what to learn, and one thing"),
        ((*digits, "--optimizer", "adamx"), "Keras has no optimizer 'adamx'; did you mean"),
        ((*digits, "--recipe", "no"), "no recipe is called 'no'"),
        ((*digits, "--recipe", "sentiment"), "choose another recipe"),
        ((*digits, "--gate", "val_acc>1"), "the training will have no metric 'val_acc'"),
        ((*digits, "--gate", "high"), "gate 'high' is not METRIC OP NUMBER"),
        (("train", "--config", str(tmp_path / "train.yaml")), "did you mean epochs?"),
    ):
        assert fact in _error(*arguments, environ=environ, code=2), arguments
