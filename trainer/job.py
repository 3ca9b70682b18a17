"""Fit a recipe on a data set, measure it, and publish it with a golden batch."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import fornada
from fornada.errors import ModelError
from fornada.keys import check_name
from model_store.golden import check_golden, predict_items
from model_store.keras_codec import compile_predict, dump_model, import_keras, load_model
from model_store.manifest import ModelDraft, ModelManifest, Training
from model_store.store import ModelStore
from trainer import recipes
from trainer.dataset import Dataset
from trainer.figures import training_curve

#: Items of the golden batch, and of the predict call that makes it.
GOLDEN_ITEMS = 32

#: Curves by name (`loss`, `val_accuracy`, …), one value an epoch.
History = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """How to train. The same plan, data, package versions and kind of machine: the same model."""

    recipe: str = "mlp"
    epochs: int = 5
    batch_size: int = 64
    #: Share of the training items, from their end, that is only measured on.
    validation_split: float = 0.2
    learning_rate: float = 0.001
    seed: int = 0


def train(
    dataset: Dataset,
    *,
    name: str,
    models: ModelStore,
    plan: TrainingPlan,
    promote: str | None = None,
    show_progress: bool = False,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> ModelManifest:
    """Train on `dataset` and publish the result as the next version of model `name`.

    Args:
        dataset: What to learn, and to be measured on.
        name: The model's name in the store.
        models: Where to publish.
        plan: How to train.
        promote: An alias to point at the new version.
        show_progress: Whether Keras draws its progress bar, on stderr.
        on_epoch: Is called after each epoch with its number from 1 and its metrics.

    Returns:
        The manifest of the new version. Its metrics are those of the last epoch, and `test_loss`
        and `test_accuracy` over the whole test split.

    Raises:
        StoreError: The store cannot be reached or refuses; asked before training begins.
        ModelError: Training diverged, or the published artifact does not give the same outputs.
        UsageError: `name` or `promote` is not a valid name, or there is no such recipe.
    """
    check_name("model name", name)
    if promote is not None:
        check_name("alias", promote)
    # Minutes of training are not worth a store that does not answer.
    models.versions(name)
    began = time.monotonic()
    recipe = recipes.recipe_named(plan.recipe)
    model = recipes.build(recipe, dataset, seed=plan.seed)
    model.compile(
        # Named, so that the same training gives the same bytes.
        optimizer=import_keras().optimizers.Adam(plan.learning_rate, name="adam"),
        loss=recipe.loss,
        metrics=list(recipe.metrics),
    )
    history = _fit(model, dataset, plan, show_progress=show_progress, on_epoch=on_epoch)
    metrics = _measure(model, dataset, history)
    duration_s = time.monotonic() - began
    draft = _draft(name, dataset, plan, metrics, duration_s)
    manifest = _publish(model, draft, dataset, history, models)
    if promote is not None:
        models.promote(name, manifest.version, promote)
    return manifest


def _fit(
    model: Any,
    dataset: Dataset,
    plan: TrainingPlan,
    *,
    show_progress: bool,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None,
) -> History:
    keras = import_keras()
    callbacks = [keras.callbacks.TerminateOnNaN()]
    if on_epoch is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1, _floats(logs))
            )
        )
    # stdout is for the command's answer.
    with contextlib.redirect_stdout(sys.stderr):
        fitted = model.fit(
            dataset.train_items,
            dataset.train_targets,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            validation_split=plan.validation_split,
            callbacks=callbacks,
            verbose=1 if show_progress else 0,
        )
    return {curve: [float(v) for v in values] for curve, values in fitted.history.items()}


def _measure(model: Any, dataset: Dataset, history: History) -> dict[str, float]:
    metrics = {curve: values[-1] for curve, values in history.items()}
    test = model.evaluate(
        dataset.test_items, dataset.test_targets, batch_size=256, verbose=0, return_dict=True
    )
    metrics |= {f"test_{metric}": value for metric, value in _floats(test).items()}
    lost = sorted(metric for metric, value in metrics.items() if not math.isfinite(value))
    if lost:
        raise ModelError(
            f"training diverged: {', '.join(lost)} not finite after {len(history['loss'])} epochs; "
            "lower the learning rate"
        )
    return metrics


def _floats(values: Mapping[str, Any] | None) -> dict[str, float]:
    return {metric: float(value) for metric, value in (values or {}).items()}


def _draft(
    name: str,
    dataset: Dataset,
    plan: TrainingPlan,
    metrics: dict[str, float],
    duration_s: float,
) -> ModelDraft:
    keras = import_keras()
    parameters = asdict(plan)
    recipe, seed = parameters.pop("recipe"), parameters.pop("seed")
    return ModelDraft(
        name=name,
        item_shape=list(dataset.item_shape),
        item_dtype=dataset.item_dtype,
        task=dataset.task,
        classes=dataset.classes,
        metrics=metrics,
        training=Training(
            dataset=dataset.name,
            recipe=recipe,
            parameters=parameters,
            seed=seed,
            data_sha256=dataset.train_sha256,
            item_count=len(dataset.train_items),
            duration_s=duration_s,
        ),
        packages={
            "fornada": fornada.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "tensorflow": sys.modules["tensorflow"].__version__,
        },
    )


def _publish(
    model: Any, draft: ModelDraft, dataset: Dataset, history: History, models: ModelStore
) -> ModelManifest:
    inputs = dataset.test_items[:GOLDEN_ITEMS]

    def compiled(any_model: Any) -> Any:
        return compile_predict(
            any_model,
            tile_items=GOLDEN_ITEMS,
            item_shape=draft.item_shape,
            item_dtype=draft.item_dtype,
        )

    outputs = predict_items(compiled(model), inputs, tile_items=GOLDEN_ITEMS)

    def check(artifact: bytes) -> None:
        where = f"the new version of {draft.name}"
        check_golden(
            compiled(load_model(artifact, where=where)),
            inputs=inputs,
            outputs=outputs,
            tile_items=GOLDEN_ITEMS,
            where=where,
        )

    return models.publish(
        draft,
        artifact=dump_model(model),
        golden_inputs=inputs,
        golden_outputs=outputs,
        files={
            "history.json": json.dumps(history, indent=1).encode(),
            "training_curve.png": training_curve(history),
        },
        check=check,
    )
