"""Options of a training from a YAML file."""

from pathlib import Path

import click
import pytest

from fornada.errors import UsageError
from trainer.commands.training import train
from trainer.commands.training_file import TrainingFile, read_training_file


def _written(folder: Path, text: str) -> Path:
    path = folder / "train.yaml"
    path.write_text(text)
    return path


def test_the_options_in_the_file_are_read(tmp_path: Path) -> None:
    path = _written(
        tmp_path, "dataset: digits\nlearning_rate: 0.01\nmetric: [accuracy]\nkeep_best: true\n"
    )

    assert {
        "dataset": "digits",
        "learning_rate": 0.01,
        "metric": ["accuracy"],
        "keep_best": True,
    } == read_training_file(path)


def test_a_mistake_in_the_file_is_named(tmp_path: Path) -> None:
    for text, fact in (
        ("epoch: 3", "has 'epoch', which is not an option; did you mean epochs?"),
        ("batch-size: 3", "has 'batch-size', which is not an option; did you mean batch_size?"),
        ("epochs: many", "epochs is invalid"),
        ("epochs: 1.5", "epochs is invalid"),
        ("epochs: .nan", "epochs is invalid"),
        ("- epochs", "not a YAML mapping"),
        ("", "not a YAML mapping"),
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
    ):
        with pytest.raises(UsageError) as error:
            read_training_file(_written(tmp_path, text))

        assert fact in str(error.value)
        assert "train.yaml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_training_file(tmp_path / "none.yaml")


def test_the_command_line_takes_precedence_over_the_file(tmp_path: Path) -> None:
    path = _written(
        tmp_path, "dataset: digits\nepochs: 9\nseed: 7\nmetric: [mae, mse]\ngate: ['loss<1']\n"
    )

    with click.Context(train) as context:
        train.parse_args(context, ["--epochs", "2", "--config", str(path)])

    said = context.params
    assert ("digits", 2, 7) == (said["dataset_name"], said["epochs"], said["seed"])
    assert (("mae", "mse"), ("loss<1",)) == (said["metrics"], said["gates"])


def test_the_file_has_every_option_of_the_command_line() -> None:
    options = {
        option.opts[0].removeprefix("--").replace("-", "_")
        for option in train.params
        if isinstance(option, click.Option)
    }

    assert options - {"config", "json"} == set(TrainingFile.model_fields)
