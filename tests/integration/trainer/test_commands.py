"""The training commands as a user types them, against a real S3 server."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.commands.router import main

_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist-sample"
_MAIN = (sys.executable, "-c", "from fornada.commands.router import main; main()")


class _CommandLine:
    """Runs commands in this process, which has TensorFlow loaded after the first training."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Stdout and stderr of a command that exits with `code`."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        stdout, stderr = self._capsys.readouterr()
        assert code == ended.value.code, stderr
        return stdout, stderr

    def answer(self, *arguments: str) -> Any:
        """The JSON object that a command prints."""
        return json.loads(self.run(*arguments, "--json")[0])

    def error(self, *arguments: str, code: int) -> str:
        """The one line of a command that fails."""
        stdout, stderr = self.run(*arguments, code=code)
        assert "" == stdout
        last = stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        return last


@pytest.fixture
def fornada(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> _CommandLine:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # Commands configure logging for their whole process.
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    return _CommandLine(capsys)


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


def _process(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_MAIN, *arguments], env=environ, capture_output=True, text=True, timeout=150, check=False
    )


def test_a_model_is_trained_and_shown(
    environ: dict[str, str], fornada: _CommandLine, keras_home: Path
) -> None:
    train = ("train", "--dataset", "fashion_mnist", "--name", "fashion-mnist", "--promote", "prod")

    # when a model is trained
    ended = _process(
        *(*train, "--epochs", "2", "--batch-size", "16"),
        environ={**environ, "KERAS_HOME": str(keras_home)},
    )

    # then each epoch is one line on stderr, and nothing of TensorFlow's is
    assert 0 == ended.returncode, ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [("epoch ended", 1, 2), ("epoch ended", 2, 2)] == [
        (event["event"], event["epoch"], event["epochs"]) for event in events
    ]
    assert "published      fashion-mnist:1 (also fashion-mnist@prod)" in ended.stdout
    assert "test accuracy  0." in ended.stdout

    # and it is shown
    shown = fornada.answer("models", "show", "fashion-mnist@prod")
    assert ("fashion-mnist:1", ["prod"]) == (shown["model"], shown["aliases"])
    assert shown["manifest"]["artifact"]["sha256"] in ended.stdout
    assert "T-shirt/top" in fornada.run("models", "show", "fashion-mnist")[0]

    # and --if-missing finds it, and trains nothing
    again = fornada.answer(*train, "--if-missing")
    assert ("fashion-mnist:1", shown["manifest"]["metrics"]) == (again["model"], again["metrics"])
    assert "models/fashion-mnist/1/model.keras" == again["artifact"]


def test_probabilities_are_evaluated_and_drawn(fornada: _CommandLine, tmp_path: Path) -> None:
    # given a data set, and results of which one is missing
    folder = tmp_path / "test-split"
    assert 360 == fornada.answer("dataset", "digits", "--output", str(folder))["items"]
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    probabilities = np.zeros((360, 10), np.float32)
    probabilities[np.arange(360), labels] = 1
    probabilities[0] = np.nan
    np.save(tmp_path / "probabilities.npy", probabilities, allow_pickle=False)

    # when
    evaluation = fornada.answer(
        *("evaluate", "--images", str(folder)),
        *("--probabilities", str(tmp_path / "probabilities.npy")),
        *("--picture", str(tmp_path / "predictions.png")),
    )

    # then
    assert (359 / 360, 1) == (evaluation["accuracy"], evaluation["failed"])
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_values_are_evaluated_and_drawn(fornada: _CommandLine, tmp_path: Path) -> None:
    # given five items, of which one has no result
    targets = np.array([10, 20, 30, 40, 50], np.float32)
    values = np.array([[11], [19], [30], [np.nan], [54]], np.float32)
    np.save(tmp_path / "items.npy", np.zeros((5, 13), np.float32), allow_pickle=False)
    np.save(tmp_path / "targets.npy", targets, allow_pickle=False)
    np.save(tmp_path / "values.npy", values, allow_pickle=False)
    (tmp_path / "classes.json").write_text('["price_k_usd"]')

    # when
    stdout, _ = fornada.run(
        *("evaluate", "--items", str(tmp_path), "--values", str(tmp_path / "values.npy")),
        *("--picture", str(tmp_path / "prices.png")),
    )

    # then
    lines = stdout.splitlines()
    assert "price_k_usd of 5 items, 1 without a result" == lines[0]
    assert "mean absolute error      1.5000" == lines[1]
    assert "root mean squared error  2.1213" == lines[2]
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_model(
    environ: dict[str, str],
    fornada: _CommandLine,
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    # given the result without a kill
    plan = ("--dataset", "digits", "--epochs", "12", "--batch-size", "32", "--keep-best")
    undisturbed = fornada.answer("train", *plan, "--name", "undisturbed")
    train = ("train", *plan, "--name", "killed", "--checkpoint", str(tmp_path / "kept"))

    # when it is killed after some epochs
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [*_MAIN, *train], env=environ, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        wait_until(lambda: (tmp_path / "log").read_text().count("epoch ended") > 1, timeout_s=90)
        process.kill()
    epochs_done = (tmp_path / "log").read_text().count("epoch ended")
    assert epochs_done < 12
    assert "no model 'killed'" in fornada.error("models", "show", "killed", code=2)
    ended = _process(*train, "--json", environ=environ)

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


@pytest.mark.slow
def test_custom_data_and_network_and_a_file_of_options(
    fornada: _CommandLine, tmp_path: Path
) -> None:
    # given
    fornada.run("dataset", "digits", "--split", "train", "--output", str(tmp_path))
    np.savez(
        tmp_path / "my-digits.npz",
        allow_pickle=False,
        x=np.load(tmp_path / "images.npy"),
        y=np.load(tmp_path / "labels.npy"),
    )
    (tmp_path / "train.yaml").write_text(
        f"data: {tmp_path / 'my-digits.npz'}\nrecipe: trainer.recipes.networks:mlp\nepochs: 9\n"
        "optimizer: sgd\nlearning_rate: 0.1\n"
    )

    # when
    trained = fornada.answer("train", "--config", str(tmp_path / "train.yaml"), "--epochs", "2")

    # then
    assert "my-digits:1" == trained["model"]
    training = fornada.answer("models", "show", "my-digits")["manifest"]["training"]
    assert ("my-digits", "trainer.recipes.networks:mlp") == (
        training["dataset"],
        training["recipe"],
    )
    chosen = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1}
    assert chosen.items() <= training["parameters"].items()
    assert "custom code" in training["not_reproducible_because"]


def test_a_model_that_passes_its_gate_is_published_and_a_no_better_one_is_not(
    fornada: _CommandLine,
) -> None:
    train = ("train", "--dataset", "digits", "--name", "gated", "--epochs", "1")
    first = fornada.answer(*train, "--gate", "test_accuracy>=0.2")

    again = fornada.answer(*train, "--register-only-if-better")
    assert again["model"] is None
    assert "no better than" in again["reason"]
    assert first["model"] == fornada.answer("models", "show", "gated")["model"]


def test_mistakes_in_the_options_are_one_line(fornada: _CommandLine, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("dataset: digits\nepoch: 3\n")
    digits = ("train", "--dataset", "digits", "--name", "m")

    for arguments, fact in (
        (("train",), "give one of PATH, --dataset NAME and --data PATH"),
        ((*digits, "--data", "x.npz"), "give one of PATH, --dataset NAME and --data PATH"),
        ((*digits, "--resize", "crop"), "are for a folder of images"),
        ((*digits, "--target", "y"), "--target, --drop and --kind are for a table"),
        (("train", "x.csv", "--drop", "y"), "are for a table; name its --target too"),
        (("train", "x.csv"), "is a table; name the column to predict with --target"),
        (("train", "--data", ".", "--image-size", "224"), "224 is not HEIGHTxWIDTH; write e.g."),
        ((*digits, "--optimizer", "adamx"), "Keras has no optimizer 'adamx'; did you mean"),
        ((*digits, "--recipe", "no"), "there is no recipe 'no'"),
        ((*digits, "--recipe", "sentiment"), "choose another recipe"),
        ((*digits, "--gate", "val_acc>1"), "the training yields no metric 'val_acc'"),
        ((*digits, "--gate", "high"), "gate 'high' is not METRIC OP NUMBER"),
        (("train", "--config", str(tmp_path / "train.yaml")), "did you mean epochs?"),
    ):
        assert fact in fornada.error(*arguments, code=2), arguments
