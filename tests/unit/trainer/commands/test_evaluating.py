"""`fornada evaluate` tells the kinds apart by the shapes of results and truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fornada.errors import UsageError
from trainer.commands.evaluating import evaluate


def _evaluate(folder: Path, *options: str, targets: Any, outputs: Any, classes: list[str]) -> str:
    targets = np.asarray(targets)
    # Another call may have left the other kind's.
    for name in ("labels.npy", "targets.npy"):
        (folder / name).unlink(missing_ok=True)
    name = "targets.npy" if targets.dtype.kind == "f" else "labels.npy"
    np.save(folder / name, targets, allow_pickle=False)
    np.save(folder / "images.npy", np.zeros((len(targets), 9, 9), np.uint8), allow_pickle=False)
    np.save(folder / "outputs.npy", np.asarray(outputs, np.float32), allow_pickle=False)
    (folder / "classes.json").write_text(json.dumps(classes))
    arguments = ["--images", str(folder), "--probabilities", str(folder / "outputs.npy")]
    ended = CliRunner().invoke(evaluate, [*arguments, *options], catch_exceptions=False)
    assert 0 == ended.exit_code, ended.output
    return ended.stdout


def _answer(folder: Path, *options: str, **arrays: Any) -> Any:
    return json.loads(_evaluate(folder, "--json", *options, **arrays))


def test_one_probability_for_two_classes_is_measured_at_the_threshold(tmp_path: Path) -> None:
    results: dict[str, Any] = {
        "targets": [0, 0, 1, 1],
        "outputs": [[0.1], [0.6], [0.4], [0.9]],
        "classes": ["ham", "[red]spam"],
    }

    picture = tmp_path / "picture.png"
    answer = _answer(tmp_path, "--threshold", "0.4", "--picture", str(picture), **results)
    shown = _evaluate(tmp_path, **results)

    assert (0.75, 1.0, 0.75) == (answer["accuracy"], answer["recall"], answer["roc_auc"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = [line.split() for line in shown.splitlines()]
    assert "accuracy 0.5000: 2 of 4 items right" in shown
    assert ["ham", "1", "1"] in lines
    assert ["[red]spam", "1", "1"] in lines


def test_rows_of_labels_are_measured_each(tmp_path: Path) -> None:
    results: dict[str, Any] = {
        "targets": [[1, 1], [0, 1]],
        "outputs": [[0.9, 0.2], [0.1, 0.8]],
        "classes": ["beach", "night"],
    }

    answer = _answer(tmp_path, "--picture", str(tmp_path / "picture.png"), **results)
    shown = _evaluate(tmp_path, **results)

    assert (0.5, 0.8) == (answer["exact_share"], answer["micro_f1"])
    assert "all labels right for 1 of 2 items" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["night", "2", "1", "0.5000", "1.0000", "0.6667"] in lines


def test_several_values_are_measured_each(tmp_path: Path) -> None:
    results: dict[str, Any] = {
        "targets": np.array([[1.0, 10.0], [2.0, 30.0]]),
        "outputs": [[1.5, 10], [2.5, 30]],
        "classes": ["length", "price"],
    }

    answer = _answer(tmp_path, **results)
    shown = _evaluate(tmp_path, **results)

    assert 0.5 == answer["values"]["length"]["mean_absolute_error"]
    assert 1.0 == answer["values"]["price"]["r_squared"]
    lines = [line.split() for line in shown.splitlines()]
    assert ["length", "2", "0", "0.5000", "0.5000", "0.0000"] in lines
    with pytest.raises(UsageError, match="there is no picture of 2 values"):
        _evaluate(tmp_path, "--picture", str(tmp_path / "picture.png"), **results)
