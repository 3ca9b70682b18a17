"""Fit a recipe on a data set, measure it, and publish it with a golden batch and a report."""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fornada
from fornada.errors import ModelError
from fornada.formats.items import Array
from fornada.keys import check_name
from model_store.engines import keras_setup
from model_store.engines.golden import check_golden, predict_items
from model_store.engines.interface import Predict
from model_store.engines.keras_file import dump_model, load_model
from model_store.engines.keras_predict import compile_predict
from model_store.engines.keras_setup import import_keras
from model_store.manifest import ModelDraft, ModelManifest, Training
from model_store.store import ModelStore
from trainer.checkpoint import Checkpoint, identity_of
from trainer.data.dataset import Dataset
from trainer.evaluation.acceptance import Acceptance
from trainer.fit import Fitted, OnEpoch, fit
from trainer.recipes import catalog
from trainer.recipes.own import check_own_model, is_own, own_recipe
from trainer.recipes.plan import TrainingPlan, check_plan, compile_model
from trainer.report import ReportMaterial, report_files
from trainer.report.layers import layer_rows

#: Items of the golden batch, and of the predict calls that make it and the report.
GOLDEN_ITEMS = 32
_REPORT_TILE_ITEMS = 256


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
        dataset: What to learn, and to be measured on.
        name: The model's name in the store.
        models: Where to publish.
        plan: How to train.
        acceptance: What the model has to be like to be published.
        promote: An alias to point at the new version.
        checkpoint: A folder that keeps how far the training is. The same call after it was ended
            goes on from there.
        show_progress: Whether Keras draws its progress bar, on stderr.
        on_epoch: Is called after each epoch: its number from 1, how many there are at most, its
            metrics.

    Returns:
        The manifest of the new version. Its metrics are those of the epoch whose weights it has,
        and `test_loss`, `test_accuracy` and so on over the whole test split.

    Raises:
        StoreError: The store cannot be reached or refuses; asked before training begins.
        ModelError: Training diverged or failed, or the published artifact does not give the same
            outputs.
        ModelRefusedError: A recipe of the caller's makes a model that no worker would load.
        GateNotMetError, NotBetterError: It is not published: `acceptance` says why.
        UsageError: `name`, `promote` or the plan make no sense, or the recipe does not fit.
    """
    check_name("model name", name)
    if promote is not None:
        check_name("alias", promote)
    check_plan(plan)
    recipe = (
        own_recipe(str(plan.recipe), dataset)
        if is_own(plan.recipe)
        else catalog.recipe_named(plan.recipe)
        if plan.recipe is not None
        else catalog.default_recipe(dataset)
    )
    # Minutes of training are not worth a store that does not answer.
    models.versions(name)
    began = time.monotonic()
    model, plan = _compiled(recipe, dataset, plan, models)
    acceptance = acceptance or Acceptance()
    if not is_own(plan.recipe):
        acceptance.check_names(plan)
    kept = None if checkpoint is None else Checkpoint(checkpoint)
    fitted = fit(
        model,
        dataset,
        plan,
        identity=identity_of(
            name=name,
            plan=plan.parameters(),
            seed=plan.seed,
            recipe=plan.recipe,
            data=dataset.train_sha256,
            packages=_packages(),
        ),
        checkpoint=kept,
        show_progress=show_progress,
        on_epoch=on_epoch,
    )
    metrics = _measure(model, dataset, fitted)
    duration_s = time.monotonic() - began
    acceptance.check(metrics, name=name, alias=promote, models=models)
    draft = _draft(name, dataset, plan, metrics, duration_s)
    trained = _Trained(model=model, dataset=dataset, plan=plan, fitted=fitted)
    manifest = _publish(trained, draft, models)
    if promote is not None:
        models.promote(name, manifest.version, promote)
    if kept is not None:
        kept.delete()
    return manifest


def _compiled(
    recipe: catalog.Recipe, dataset: Dataset, plan: TrainingPlan, models: ModelStore
) -> tuple[Any, TrainingPlan]:
    """The model that is to be fitted, and the plan without gaps."""
    model = catalog.build(recipe, dataset, seed=plan.seed)
    if is_own(plan.recipe):
        check_own_model(model, dataset, plan, allowed_layers=models.trust.allowed_layers)
    filled = plan.filled(recipe, compiled=model.compiled)
    if not model.compiled:
        compile_model(model, filled)
    return model, filled


def _measure(model: Any, dataset: Dataset, fitted: Fitted) -> dict[str, float]:
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


def _draft(
    name: str,
    dataset: Dataset,
    plan: TrainingPlan,
    metrics: dict[str, float],
    duration_s: float,
) -> ModelDraft:
    return ModelDraft(
        name=name,
        item_shape=list(dataset.item_shape),
        item_dtype=dataset.item_dtype,
        task=dataset.task,
        classes=dataset.classes,
        metrics=metrics,
        training=Training(
            dataset=dataset.name,
            recipe=str(plan.recipe),
            parameters=plan.parameters(),
            seed=plan.seed,
            data_sha256=dataset.train_sha256,
            item_count=len(dataset.train_items),
            duration_s=duration_s,
            not_reproducible_because=_not_reproducible_because(plan),
        ),
        packages=_packages(),
    )


def _not_reproducible_because(plan: TrainingPlan) -> str | None:
    if is_own(plan.recipe):
        return f"the recipe {plan.recipe} is code of its own, which is not in the manifest"
    if keras_setup.engine_name().endswith("gpu"):
        return "it was trained on a GPU, which may add up in another order"
    return None


def _packages() -> dict[str, str]:
    return {
        "fornada": fornada.__version__,
        "keras": import_keras().__version__,
        "numpy": np.__version__,
        "tensorflow": sys.modules["tensorflow"].__version__,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trained:
    """A model that was fitted, and to what."""

    model: Any
    dataset: Dataset
    #: Without gaps.
    plan: TrainingPlan
    fitted: Fitted


def _publish(trained: _Trained, draft: ModelDraft, models: ModelStore) -> ModelManifest:
    model, test_items = trained.model, trained.dataset.test_items
    inputs = test_items[:GOLDEN_ITEMS]

    def compiled(any_model: Any, tile_items: int = GOLDEN_ITEMS) -> Predict:
        return compile_predict(
            any_model,
            tile_items=tile_items,
            item_shape=draft.item_shape,
            item_dtype=draft.item_dtype,
        )

    outputs = predict_items(compiled(model), inputs, tile_items=GOLDEN_ITEMS)

    def check(artifact: bytes) -> None:
        where = f"the new version of {draft.name}"
        check_golden(
            compiled(load_model(artifact, where=where, allowed_layers=models.trust.allowed_layers)),
            inputs=inputs,
            outputs=outputs,
            tile_items=GOLDEN_ITEMS,
            where=where,
        )

    tested = predict_items(
        compiled(model, _REPORT_TILE_ITEMS), test_items, tile_items=_REPORT_TILE_ITEMS
    )
    return models.publish(
        draft,
        artifact=dump_model(model),
        golden_inputs=inputs,
        golden_outputs=outputs,
        files={
            "history.json": json.dumps(trained.fitted.history, indent=1).encode(),
            **report_files(_material(trained, draft, tested)),
        },
        check=check,
    )


def _material(trained: _Trained, draft: ModelDraft, tested: Array) -> ReportMaterial:
    dataset, plan, fitted = trained.dataset, trained.plan, trained.fitted
    items = len(dataset.train_items)
    # As Keras cuts it.
    fitted_count = math.floor(items * (1 - plan.validation_split))
    return ReportMaterial(
        name=draft.name,
        task=dataset.task,
        dataset=dataset.name,
        recipe=str(plan.recipe),
        parameters=plan.parameters(),
        seed=plan.seed,
        data_sha256=dataset.train_sha256,
        train_item_count=fitted_count,
        validation_item_count=items - fitted_count,
        duration_s=draft.training.duration_s if draft.training else 0.0,
        packages=draft.packages,
        layers=layer_rows(trained.model),
        history=fitted.history,
        metrics=draft.metrics,
        test_items=dataset.test_items,
        test_targets=dataset.test_targets,
        test_outputs=tested,
        classes=dataset.classes,
        best_epoch=fitted.best_epoch,
        reproducibility_note=_not_reproducible_because(plan),
    )
