"""Fitting epoch by epoch: ended early, the best kept, and gone on with as if never ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import ModelError, UsageError
from trainer.checkpoint import Checkpoint, weights_of
from trainer.data.dataset import Dataset
from trainer.fit import Fitted, fit
from trainer.recipes.catalog import RECIPES, build_model
from trainer.recipes.plan import TrainingPlan, compile_model

_RNG = np.random.default_rng(3)
_IDENTITY = "0" * 64


class _EndedError(Exception):
    """The process is ended here."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Noise, which can only be learnt by heart: the validation loss soon rises."""
    items = _RNG.integers(0, 256, (80, 4, 4), np.uint8)
    targets = _RNG.integers(0, 3, 80)
    return Dataset(
        name="noise",
        task="classification",
        train_items=items[:60],
        train_targets=targets[:60],
        test_items=items[60:],
        test_targets=targets[60:],
        classes=["a", "b", "c"],
    )


def _fitted(
    dataset: Dataset, plan: TrainingPlan, folder: Path | None = None, *, end_after: int = 0
) -> tuple[Any, Fitted]:
    recipe = RECIPES["mlp"]
    model = build_model(recipe, dataset, seed=plan.seed)
    filled = plan.filled(recipe)
    compile_model(model, filled)

    def end(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch == end_after:
            raise _EndedError

    checkpoint = None if folder is None else Checkpoint(folder)
    return model, fit(
        model, dataset, filled, identity=_IDENTITY, checkpoint=checkpoint, on_epoch=end
    )


def test_a_training_that_was_ended_goes_on_as_if_it_never_was(
    dataset: Dataset, tmp_path: Path
) -> None:
    # given
    plan = TrainingPlan(epochs=4, batch_size=16, keep_best=True)
    model, undisturbed = _fitted(dataset, plan)
    with pytest.raises(_EndedError):
        # The callback comes before the checkpoint of its epoch: two are kept.
        _fitted(dataset, plan, tmp_path, end_after=3)

    # when
    resumed_model, resumed = _fitted(dataset, plan, tmp_path)

    # then
    assert (2, 0) == (resumed.resumed_epochs, undisturbed.resumed_epochs)
    assert undisturbed.history == resumed.history
    assert 4 == len(resumed.history["val_loss"])
    assert undisturbed.best_epoch == resumed.best_epoch
    for expected, found in zip(weights_of(model), weights_of(resumed_model), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_a_training_that_has_ended_is_not_begun_again(dataset: Dataset, tmp_path: Path) -> None:
    plan = TrainingPlan(epochs=2, batch_size=16)
    model, first = _fitted(dataset, plan, tmp_path)

    again_model, again = _fitted(dataset, plan, tmp_path)

    assert (2, first.history) == (again.resumed_epochs, again.history)
    np.testing.assert_array_equal(weights_of(model)[0], weights_of(again_model)[0])


def test_training_ends_when_the_validation_loss_was_no_lower_for_long(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=60, batch_size=8, learning_rate=0.01, early_stopping_epochs=3)

    _, fitted = _fitted(dataset, plan)

    losses = fitted.history["val_loss"]
    assert len(losses) < 60
    assert len(losses) == int(np.argmin(losses)) + 1 + 3


def test_the_best_weights_are_kept(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=25, batch_size=8, learning_rate=0.01, keep_best=True)

    model, fitted = _fitted(dataset, plan)

    losses = fitted.history["val_loss"]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1 < 25
    measured = model.evaluate(
        dataset.train_items[48:], dataset.train_targets[48:], verbose=0, return_dict=True
    )
    assert pytest.approx(min(losses), rel=1e-4) == measured["loss"]


def test_the_last_weights_are_kept_unless_the_best_are_asked_for(dataset: Dataset) -> None:
    _, fitted = _fitted(dataset, TrainingPlan(epochs=25, batch_size=8, learning_rate=0.01))

    assert fitted.best_epoch is None


def test_without_a_validation_split_the_loss_decides(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=2, validation_split=0.0, keep_best=True)

    _, fitted = _fitted(dataset, plan)

    assert {"loss", "accuracy"} == fitted.history.keys()


def test_another_seed_is_another_training(dataset: Dataset) -> None:
    first, second = (
        _fitted(dataset, TrainingPlan(epochs=1, seed=seed))[1].history for seed in (0, 1)
    )

    assert first != second


def test_a_metric_that_does_not_fit_is_told_in_one_line(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=1, metrics=["mean_absolute_error"])

    with pytest.raises(ModelError, match=r"failed in epoch 1: Incompatible shapes: .*3 outputs"):
        _fitted(dataset, plan)


def test_a_checkpoint_of_another_training_is_not_gone_on_with(
    dataset: Dataset, tmp_path: Path
) -> None:
    _fitted(dataset, TrainingPlan(epochs=1), tmp_path)

    with pytest.raises(UsageError, match="another plan, other data or other packages"):
        Checkpoint(tmp_path).load("1" * 64, model=None)


def test_a_checkpoint_of_another_network_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    _fitted(dataset, TrainingPlan(epochs=1), tmp_path)
    other = build_model(RECIPES["cnn"], dataset, seed=0)
    compile_model(other, TrainingPlan().filled(RECIPES["cnn"]))
    other.optimizer.build(other.trainable_variables)

    with pytest.raises(UsageError, match=r"damaged .*its weights are of another network"):
        Checkpoint(tmp_path).load(_IDENTITY, other)


@pytest.mark.parametrize("kept_bytes", [0, 100, 1000])
def test_a_damaged_checkpoint_is_named(dataset: Dataset, tmp_path: Path, kept_bytes: int) -> None:
    _fitted(dataset, TrainingPlan(epochs=1), tmp_path)
    path = tmp_path / "training.npz"
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(UsageError, match=r"training\.npz is no checkpoint, or is damaged"):
        _fitted(dataset, TrainingPlan(epochs=1), tmp_path)


def test_a_folder_that_cannot_be_made_is_told_before_training(
    dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot be made"):
        _fitted(dataset, TrainingPlan(epochs=1), tmp_path / "file" / "folder")
