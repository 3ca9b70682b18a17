"""Train a recipe on a data set, evaluate it, and publish it with a golden batch and a report."""

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fornada import keys
from fornada.tensors import THRESHOLD_KINDS, InputTensor, OutputTensor
from model_store.manifest import ModelDraft, ModelManifest, Training
from model_store.publishing import keras_backend
from model_store.publishing.checked import GOLDEN_ITEMS, golden_outputs, packages
from model_store.publishing.fitted import FittedModel, measure, publish_fitted
from model_store.signature import read_signature
from model_store.store import ModelStore
from trainer.checkpoint import Checkpoint, identity_of
from trainer.data.dataset import Dataset, image_preprocessing, rows_of
from trainer.data.images import are_images
from trainer.evaluation.acceptance import Acceptance
from trainer.fit import Fitted, OnEpoch, fit
from trainer.recipes.catalog import Recipe, build_model, default_recipe, find_recipe
from trainer.recipes.custom import check_custom_model, custom_recipe, is_custom, output_kind
from trainer.recipes.plan import TrainingPlan, check_plan, compile_model
from trainer.report.files import model_report

#: Probability from which a class applies.
_THRESHOLD = 0.5


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
    keys.check_name("model name", name)
    if promote is not None:
        keys.check_name("alias", promote)
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
    done = _tested_on(dataset, model, fitted)
    metrics = measure(done)
    training = _training(dataset, plan, duration_s=time.monotonic() - began)
    acceptance.check(metrics, name=name, alias=promote, models=models)
    draft = _draft(model, name, dataset, metrics, training)
    manifest = _published(done, draft, dataset, models=models, promote=promote)
    if kept is not None:
        kept.delete()
    return manifest


def _tested_on(dataset: Dataset, model: Any, fitted: Fitted) -> FittedModel:
    return FittedModel(
        model=model,
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        test_items=dataset.test_items,
        test_targets=dataset.test_targets,
    )


def _published(
    done: FittedModel,
    draft: ModelDraft,
    dataset: Dataset,
    *,
    models: ModelStore,
    promote: str | None,
) -> ModelManifest:
    inputs = rows_of(dataset.test_items)[:GOLDEN_ITEMS]
    return publish_fitted(
        done,
        draft,
        inputs=inputs,
        outputs=golden_outputs(
            done.model, inputs, takes=draft.inputs, where=f"the new {draft.name}"
        ),
        models=models,
        report=partial(_report, dataset),
        promote=promote,
    )


def _report(dataset: Dataset, fitted: FittedModel, draft: ModelDraft) -> dict[str, bytes]:
    """The report's files, and how many training items each class has."""
    files = dict(model_report(fitted, draft))
    targets, classes = dataset.train_targets, dataset.classes
    if dataset.kind != "values":
        # Labels that apply together are counted each.
        found = targets.nonzero()[1] if dataset.kind == "multilabel" else targets.ravel()
        counts = np.bincount(found.astype(np.int64), minlength=len(classes)).tolist()
        names = dict(zip(classes, counts, strict=True))
        files[keys.TRAINING_CLASSES] = json.dumps(names, indent=1).encode()
    return files


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
    filled = plan.filled(recipe, output_kind(model, dataset), compiled=model.compiled)
    if not model.compiled:
        compile_model(model, filled)
    return model, filled


def _training(dataset: Dataset, plan: TrainingPlan, *, duration_s: float) -> Training:
    reason = None
    if is_custom(plan.recipe):
        reason = f"the recipe {plan.recipe} is custom code, which the manifest does not hold"
    elif keras_backend.is_on_gpu():
        reason = "it was trained on a GPU, which may sum in another order"
    return Training(
        dataset=dataset.name,
        recipe=str(plan.recipe),
        parameters=plan.parameters(),
        seed=plan.seed,
        data_sha256=dataset.train_sha256,
        item_count=len(dataset.train_targets),
        duration_s=duration_s,
        not_reproducible_because=reason,
    )


def _draft(
    model: Any, name: str, dataset: Dataset, metrics: dict[str, float], training: Training
) -> ModelDraft:
    taken, given = _tensors(model, name, dataset)
    return ModelDraft(
        inputs=taken,
        outputs=[given],
        name=name,
        metrics=metrics,
        training=training,
        packages=packages(),
    )


def _tensors(model: Any, name: str, dataset: Dataset) -> tuple[list[InputTensor], OutputTensor]:
    """Inputs and output by the names that Keras has."""
    signature = read_signature(model, f"the new {name}")
    kind = output_kind(model, dataset)
    return (
        [_input(tensor, dataset) for tensor in signature.inputs],
        OutputTensor(
            name=signature.outputs[0].name,
            shape=[1 if kind == "binary" else len(dataset.classes)],
            kind=kind,
            classes=dataset.classes,
            threshold=_THRESHOLD if kind in THRESHOLD_KINDS else None,
        ),
    )


def _input(tensor: InputTensor, dataset: Dataset) -> InputTensor:
    """An input of the model, and how what workers are given becomes its items."""
    items = dataset.test_items
    if isinstance(items, Mapping):
        return tensor.model_copy(update={"fill": dataset.fill.get(tensor.name)})
    image = dataset.image
    if image is None and are_images(items):
        image = image_preprocessing(dataset.item_shape)
    return InputTensor(
        name=tensor.name, dtype=dataset.item_dtype, shape=list(dataset.item_shape), image=image
    )


def _identity(name: str, dataset: Dataset, plan: TrainingPlan) -> str:
    return identity_of(
        name=name,
        plan=plan.parameters(),
        seed=plan.seed,
        recipe=plan.recipe,
        data=dataset.train_sha256,
        packages=packages(),
    )
