"""Fitting epoch by epoch: stopped early, the best kept, resumed as if never interrupted."""

import shutil
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
_ONE_EPOCH = TrainingPlan(epochs=1, batch_size=16)


class _EndedError(Exception):
    """The process ends here."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Noise, which can only be memorised: the validation loss soon rises."""
    items = _RNG.integers(0, 256, (80, 4, 4), np.uint8)
    targets = _RNG.integers(0, 3, 80)
    return Dataset(
        name="noise",
        kind="probabilities",
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
    filled = plan.filled(recipe, "probabilities")
    compile_model(model, filled)

    def end(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch == end_after:
            raise _EndedError

    checkpoint = None if folder is None else Checkpoint(folder)
    return model, fit(
        model, dataset, filled, identity=_IDENTITY, checkpoint=checkpoint, on_epoch=end
    )


@pytest.fixture(scope="module")
def finished(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, Fitted]:
    """The checkpoint folder of a finished training of one epoch, its model and result."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, *_fitted(dataset, _ONE_EPOCH, folder)


@pytest.fixture
def folder(finished: tuple[Path, Any, Fitted], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "checkpoint"))


def test_an_interrupted_training_resumes_as_if_it_never_was(
    dataset: Dataset, tmp_path: Path
) -> None:
    # given
    plan = TrainingPlan(epochs=3, batch_size=16, keep_best=True)
    model, undisturbed = _fitted(dataset, plan)
    with pytest.raises(_EndedError):
        # The callback comes before the checkpoint of its epoch: one is kept.
        _fitted(dataset, plan, tmp_path, end_after=2)

    # when
    resumed_model, resumed = _fitted(dataset, plan, tmp_path)

    # then
    assert (1, 0) == (resumed.resumed_epochs, undisturbed.resumed_epochs)
    assert undisturbed.history == resumed.history
    assert 3 == len(resumed.history["val_loss"])
    assert undisturbed.best_epoch == resumed.best_epoch
    for expected, found in zip(
        weights_of(model.variables), weights_of(resumed_model.variables), strict=True
    ):
        np.testing.assert_array_equal(expected, found)


def test_a_finished_training_does_not_start_again(
    dataset: Dataset, finished: tuple[Path, Any, Fitted]
) -> None:
    folder, model, first = finished

    again_model, again = _fitted(dataset, _ONE_EPOCH, folder)

    assert (1, first.history) == (again.resumed_epochs, again.history)
    np.testing.assert_array_equal(
        weights_of(model.variables)[0], weights_of(again_model.variables)[0]
    )


def test_training_stops_early_with_the_best_weights(dataset: Dataset) -> None:
    plan = TrainingPlan(
        epochs=60, batch_size=8, learning_rate=0.02, early_stopping_epochs=3, keep_best=True
    )

    model, fitted = _fitted(dataset, plan)

    losses = fitted.history["val_loss"]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 3 < 57
    measured = model.evaluate(
        dataset.train_items[48:], dataset.train_targets[48:], verbose=0, return_dict=True
    )
    assert pytest.approx(min(losses), rel=1e-4) == measured["loss"]


@pytest.mark.slow
def test_the_last_weights_are_kept_unless_the_best_are_asked_for(dataset: Dataset) -> None:
    _, fitted = _fitted(dataset, TrainingPlan(epochs=25, batch_size=8, learning_rate=0.01))

    losses = fitted.history["val_loss"]
    assert min(losses) < losses[-1]
    assert fitted.best_epoch is None


def test_without_a_validation_split_the_training_loss_decides(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=1, validation_split=0.0, keep_best=True)

    _, fitted = _fitted(dataset, plan)

    assert {"loss", "accuracy"} == fitted.history.keys()


def test_an_unfit_metric_is_reported_in_one_line(dataset: Dataset) -> None:
    plan = TrainingPlan(epochs=1, metrics=["mean_absolute_error"])

    with pytest.raises(ModelError, match=r"failed in epoch 1: Incompatible shapes: .*3 outputs"):
        _fitted(dataset, plan)


def test_a_checkpoint_of_another_training_or_network_is_refused(
    dataset: Dataset, folder: Path
) -> None:
    cnn = RECIPES["cnn"]
    other = build_model(cnn, dataset, seed=0)
    compile_model(other, TrainingPlan().filled(cnn, "probabilities"))
    other.optimizer.build(other.trainable_variables)

    with pytest.raises(UsageError, match="another plan, other data or other packages"):
        Checkpoint(folder).load("1" * 64, model=None)
    with pytest.raises(UsageError, match=r"damaged .*its weights belong to another network"):
        Checkpoint(folder).load(_IDENTITY, other)


def test_a_damaged_checkpoint_is_named(dataset: Dataset, folder: Path) -> None:
    path = folder / "training.npz"
    whole = path.read_bytes()
    for kept_bytes in (1000, 100, 0):
        path.write_bytes(whole[:kept_bytes])

        with pytest.raises(UsageError, match=r"training\.npz is not a checkpoint, or is damaged"):
            Checkpoint(folder).load(_IDENTITY, model=None)


def test_a_folder_that_cannot_be_created_fails_before_training(
    dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot be created"):
        _fitted(dataset, _ONE_EPOCH, tmp_path / "file" / "folder")
