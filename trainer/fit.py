"""Fit a compiled model epoch by epoch: best weights, early stopping, and resuming."""

import contextlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fornada.errors import ModelError, error_line
from model_store.engines.keras_setup import import_keras
from model_store.publishing.keras_backend import as_fed
from trainer.checkpoint import Checkpoint, TrainingProgress, put_weights, weights_of
from trainer.data.dataset import Dataset
from trainer.recipes.plan import TrainingPlan

#: Curves by name (`loss`, `val_accuracy`, …), one value per epoch.
History = dict[str, list[float]]
#: Called after each epoch with its number from 1, the most epochs there will be, and its metrics.
OnEpoch = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The result of `fit`."""

    history: History
    #: The epoch, from 1, whose weights the model has, if not the last.
    best_epoch: int | None
    #: Epochs done by earlier processes.
    resumed_epochs: int


def fit(
    model: Any,
    dataset: Dataset,
    plan: TrainingPlan,
    *,
    identity: str,
    checkpoint: Checkpoint | None = None,
    show_progress: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Fit `model` by a filled plan.

    Each epoch begins with its own random state, derived from the plan's seed and the epoch. So a
    training resumed from a checkpoint shuffles and drops as one that was never interrupted.

    Args:
        model: Compiled; changed in place.
        dataset: What to learn.
        plan: How to train.
        identity: What this training is, for the checkpoint.
        checkpoint: Holds the state after each epoch; the training resumes from it.
        show_progress: Whether Keras draws its progress bar, on stderr.
        on_epoch: Called after each epoch.

    Raises:
        ModelError: Loss and metrics do not fit the model or the targets, or training diverged.
        UsageError: The checkpoint belongs to another training.
        LocalDiskError: The checkpoint cannot be written.
    """
    model.optimizer.build(model.trainable_variables)
    progress, best = TrainingProgress(identity=identity), None
    if checkpoint is not None:
        checkpoint.prepare()
        progress, best = checkpoint.load(identity, model) or (progress, best)
    resumed_epochs = progress.epochs_done
    items = as_fed(dataset.train_items)
    while not progress.ended:
        ran = _run_epoch(
            model, dataset, items, plan, progress.epochs_done, show_progress=show_progress
        )
        progress, is_best = _after_epoch(progress, ran, plan)
        if is_best and plan.keep_best:
            best = weights_of(model.variables)
        if on_epoch is not None:
            on_epoch(progress.epochs_done, plan.epochs or 1, ran)
        if checkpoint is not None:
            checkpoint.save(progress, model, best)
    best_epoch = None
    if best is not None and progress.best_epoch != progress.epochs_done:
        put_weights(model.variables, best)
        best_epoch = progress.best_epoch
    return Fitted(history=progress.history, best_epoch=best_epoch, resumed_epochs=resumed_epochs)


def _run_epoch(
    model: Any,
    dataset: Dataset,
    items: Any,
    plan: TrainingPlan,
    epoch: int,
    *,
    show_progress: bool,
) -> dict[str, float]:
    """The metrics of one epoch, counted from 0."""
    keras = import_keras()
    seed = np.random.SeedSequence([plan.seed, epoch]).generate_state(1)[0]
    keras.utils.set_random_seed(int(seed))
    # One call per epoch, though Keras's bar still says `3/5`.
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: setattr(model, "stop_training", True)
    )
    try:
        # stdout is for the command's result.
        with contextlib.redirect_stdout(sys.stderr):
            fitted = model.fit(
                items,
                dataset.train_targets,
                initial_epoch=epoch,
                epochs=plan.epochs,
                batch_size=plan.batch_size,
                validation_split=plan.validation_split,
                callbacks=[stop],
                verbose=1 if show_progress else 0,
            )
    except (MemoryError, OSError):
        raise
    except Exception as exc:
        # TensorFlow, Keras and a custom network raise anything.
        raise ModelError(
            f"training failed in epoch {epoch + 1}: {_cause(exc)}; check that network, loss "
            f"and metrics fit {dataset.output_count} outputs and the targets of {dataset.name}"
        ) from exc
    return {name: float(values[-1]) for name, values in fitted.history.items()}


def _cause(exc: Exception) -> str:
    """The error without the stack that TensorFlow puts before it."""
    _, graph, details = str(exc).rpartition("Graph execution error:")
    if not graph:
        return error_line(exc)
    # The last line that is not indented is the fact; the operation follows, indented.
    facts = [line for line in details.splitlines() if line and not line[0].isspace()]
    return facts[-1][:300]


def _after_epoch(
    progress: TrainingProgress, ran: Mapping[str, float], plan: TrainingPlan
) -> tuple[TrainingProgress, bool]:
    """The progress after one more epoch, and whether that was the best so far."""
    done = progress.epochs_done + 1
    lost = sorted(name for name, value in ran.items() if not math.isfinite(value))
    if lost:
        raise ModelError(
            f"training diverged: {', '.join(lost)} not finite after {done} epochs; lower the "
            "learning rate"
        )
    # Without a validation split there is only the training loss.
    loss = ran.get("val_loss", ran["loss"])
    is_best = progress.best_loss is None or loss < progress.best_loss
    best_epoch = done if is_best else progress.best_epoch
    no_better_for = done - (best_epoch or done)
    stopped = plan.early_stopping_epochs is not None and no_better_for >= plan.early_stopping_epochs
    return TrainingProgress(
        identity=progress.identity,
        epochs_done=done,
        history={name: [*progress.history.get(name, []), value] for name, value in ran.items()},
        best_epoch=best_epoch,
        best_loss=loss if is_best else progress.best_loss,
        ended=stopped or done >= (plan.epochs or 1),
    ), is_best
