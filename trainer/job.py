"""Train a recipe on a data set, evaluate it, and publish it with a golden batch and a report."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import fornada
from fornada.errors import ModelError
from fornada.keys import check_name
from model_store.engines import keras_setup
from model_store.engines.golden import check_golden, predict_items
from model_store.engines.interface import Predict
from model_store.engines.keras_file import dump_model, load_model
from model_store.engines.keras_predict import compile_predict
from model_store.manifest import ModelDraft, ModelManifest, Training
from model_store.store import ModelStore
from trainer.checkpoint import Checkpoint, identity_of
from trainer.data.dataset import Dataset
from trainer.evaluation.acceptance import Acceptance
from trainer.fit import Fitted, OnEpoch, fit
from trainer.recipes.catalog import Recipe, build_model, default_recipe, find_recipe
from trainer.recipes.custom import check_custom_model, custom_recipe, is_custom
from trainer.recipes.plan import TrainingPlan, check_plan, compile_model
from trainer.report.files import report_files
from trainer.report.material import ReportMaterial, layer_rows

#: Items of the golden batch; rows of the predict calls over it, and over the test split.
GOLDEN_ITEMS = 32
_TEST_TILE_ITEMS = 256


def train(
    dataset: Dataset,
    *,
    name: str,
    models: ModelStore,
    plan: TrainingPlan,
    acceptance: Acceptance | None = None,
    promote: str | None = None,
    checkpoint: Path | None = None,
    show_progress: bool = False,
    on_epoch: OnEpoch | None = None,
) -> ModelManifest:
    """Train on `dataset` and publish the result as the next version of model `name`.

    Args:
        dataset: Training and test items.
        name: The model's name in the store.
        models: Where to publish.
        plan: How to train.
        acceptance: Conditions for publishing.
        promote: An alias to point at the new version.
        checkpoint: A folder that holds the state after each epoch. The same call resumes from it.
        show_progress: Whether Keras draws its progress bar, on stderr.
        on_epoch: Called after each epoch with its number from 1, the most epochs there will be,
            and its metrics.

    Returns:
        The manifest of the new version. Its metrics are those of the epoch whose weights it has,
        and `test_loss`, `test_accuracy` and so on over the whole test split.

    Raises:
        StoreError: The store cannot be reached or refuses; tested before training.
        ModelError: Training diverged or failed, or the stored artifact gives other outputs.
        ModelRefusedError: A custom recipe makes a model that no worker would load.
        GateNotMetError, NotBetterError: `acceptance` does not hold; nothing is published.
        UsageError: `name`, `promote` or the plan is invalid, or the recipe does not fit.
    """
    check_name("model name", name)
    if promote is not None:
        check_name("alias", promote)
    check_plan(plan)
    recipe = _recipe(plan.recipe, dataset)
    # Fails before minutes of training if the store does not answer.
    models.versions(name)
    began = time.monotonic()
    model, plan = _compiled(recipe, dataset, plan, models)
    acceptance = acceptance or Acceptance()
    if not is_custom(plan.recipe):
        acceptance.check_names(plan)
    kept = None if checkpoint is None else Checkpoint(checkpoint)
    fitted = fit(
        model,
        dataset,
        plan,
        identity=_identity(name, dataset, plan),
        checkpoint=kept,
        show_progress=show_progress,
        on_epoch=on_epoch,
    )
    metrics = _evaluate(model, dataset, fitted)
    training = _training(dataset, plan, duration_s=time.monotonic() - began)
    acceptance.check(metrics, name=name, alias=promote, models=models)
    draft = _draft(name, dataset, metrics, training)
    files = {
        "history.json": json.dumps(fitted.history, indent=1).encode(),
        **report_files(_material(model, dataset, fitted, draft, training)),
    }
    manifest = _publish(model, dataset, draft, files, models)
    if promote is not None:
        models.promote(name, manifest.version, promote)
    if kept is not None:
        kept.delete()
    return manifest


def _recipe(name: str | None, dataset: Dataset) -> Recipe:
    if name is None:
        return default_recipe(dataset)
    return custom_recipe(name, dataset) if is_custom(name) else find_recipe(name)


def _compiled(
    recipe: Recipe, dataset: Dataset, plan: TrainingPlan, models: ModelStore
) -> tuple[Any, TrainingPlan]:
    """The model to fit, and the plan with the recipe's defaults."""
    model = build_model(recipe, dataset, seed=plan.seed)
    if is_custom(plan.recipe):
        check_custom_model(model, dataset, plan, allowed_objects=models.trust.allowed_objects)
    filled = plan.filled(recipe, compiled=model.compiled)
    if not model.compiled:
        compile_model(model, filled)
    return model, filled


def _evaluate(model: Any, dataset: Dataset, fitted: Fitted) -> dict[str, float]:
    epoch = (fitted.best_epoch or 0) - 1
    metrics = {curve: values[epoch] for curve, values in fitted.history.items()}
    test = model.evaluate(
        dataset.test_items, dataset.test_targets, batch_size=256, verbose=0, return_dict=True
    )
    metrics |= {f"test_{metric}": float(value) for metric, value in test.items()}
    lost = sorted(metric for metric, value in metrics.items() if not math.isfinite(value))
    if lost:
        raise ModelError(
            f"training diverged: {', '.join(lost)} not finite after "
            f"{len(fitted.history['loss'])} epochs; lower the learning rate"
        )
    return metrics


def _training(dataset: Dataset, plan: TrainingPlan, *, duration_s: float) -> Training:
    reason = None
    if is_custom(plan.recipe):
        reason = f"the recipe {plan.recipe} is custom code, which the manifest does not hold"
    elif keras_setup.engine_name().endswith("gpu"):
        reason = "it was trained on a GPU, which may sum in another order"
    return Training(
        dataset=dataset.name,
        recipe=str(plan.recipe),
        parameters=plan.parameters(),
        seed=plan.seed,
        data_sha256=dataset.train_sha256,
        item_count=len(dataset.train_items),
        duration_s=duration_s,
        not_reproducible_because=reason,
    )


def _draft(
    name: str, dataset: Dataset, metrics: dict[str, float], training: Training
) -> ModelDraft:
    return ModelDraft(
        name=name,
        item_shape=list(dataset.item_shape),
        item_dtype=dataset.item_dtype,
        task=dataset.task,
        classes=dataset.classes,
        metrics=metrics,
        training=training,
        packages=_packages(),
    )


def _packages() -> dict[str, str]:
    return {
        "fornada": fornada.__version__,
        "keras": keras_setup.import_keras().__version__,
        "numpy": np.__version__,
        "tensorflow": sys.modules["tensorflow"].__version__,
    }


def _identity(name: str, dataset: Dataset, plan: TrainingPlan) -> str:
    return identity_of(
        name=name,
        plan=plan.parameters(),
        seed=plan.seed,
        recipe=plan.recipe,
        data=dataset.train_sha256,
        packages=_packages(),
    )


def _material(
    model: Any, dataset: Dataset, fitted: Fitted, draft: ModelDraft, training: Training
) -> ReportMaterial:
    # As Keras splits them.
    fitted_count = math.floor(training.item_count * (1 - training.parameters["validation_split"]))
    predict = _predict(model, dataset, _TEST_TILE_ITEMS)
    return ReportMaterial(
        draft=draft,
        training=training,
        validation_item_count=training.item_count - fitted_count,
        layers=layer_rows(model),
        history=fitted.history,
        test_items=dataset.test_items,
        test_targets=dataset.test_targets,
        test_outputs=predict_items(predict, dataset.test_items, tile_items=_TEST_TILE_ITEMS),
        best_epoch=fitted.best_epoch,
    )


def _predict(model: Any, dataset: Dataset, tile_items: int) -> Predict:
    return compile_predict(
        model,
        tile_items=tile_items,
        item_shape=dataset.item_shape,
        item_dtype=dataset.item_dtype,
    )


def _publish(
    model: Any, dataset: Dataset, draft: ModelDraft, files: dict[str, bytes], models: ModelStore
) -> ModelManifest:
    inputs = dataset.test_items[:GOLDEN_ITEMS]
    outputs = predict_items(_predict(model, dataset, GOLDEN_ITEMS), inputs, tile_items=GOLDEN_ITEMS)

    def check(artifact: bytes) -> None:
        where = f"the new version of {draft.name}"
        loaded = load_model(artifact, where=where, allowed_objects=models.trust.allowed_objects)
        check_golden(
            _predict(loaded, dataset, GOLDEN_ITEMS),
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
        files=files,
        check=check,
    )
