"""Publish a fitted model in memory with its metrics, History, real items and report."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fornada import logs
from fornada.errors import FornadaError, InputError, ModelError, ModelRefusedError, error_line
from fornada.formats.rows import Rows
from model_store.engines.artifact.archive import read_config
from model_store.engines.artifact.compile_state import DROPPED
from model_store.engines.keras_file import save_model
from model_store.golden_batch import write_golden
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.checked import publish_checked
from model_store.publishing.keras_backend import as_fed
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits

log = logs.get_logger(__name__)

_TEST_BATCH_ITEMS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedModel:
    """A Keras model, how its training went, and the items to test it on."""

    model: Any
    #: Curves by name (`loss`, `val_accuracy`, …), one value per epoch.
    history: Mapping[str, Sequence[float]]
    #: The epoch, from 1, whose weights the model has; `None`: the last.
    best_epoch: int | None = None
    #: item dtype [items, *item_shape]; or arrays as a model of several inputs takes them.
    test_items: Any = None
    #: As the model's loss takes them, one per test item.
    test_targets: Any = None


#: Makes the files of a report.
Report = Callable[[FittedModel, ModelDraft], Mapping[str, bytes]]


def measure(fitted: FittedModel) -> dict[str, float]:
    """The metrics of the weights' epoch, and `test_…` over the test items of a compiled model.

    Raises:
        ModelError: One is not finite.
        InputError: Loss and metrics do not take the test targets.
    """
    epoch_count = max(map(len, fitted.history.values()), default=0)
    epoch = (fitted.best_epoch or epoch_count) - 1
    metrics = {
        curve: values[epoch]
        for curve, values in fitted.history.items()
        if len(values) == epoch_count
    }
    if fitted.test_items is not None and fitted.model.compiled:
        metrics |= {f"test_{name}": value for name, value in _test_metrics(fitted).items()}
    lost = sorted(metric for metric, value in metrics.items() if not math.isfinite(value))
    if lost:
        raise ModelError(
            f"training diverged: {', '.join(lost)} not finite after {epoch_count} epochs; lower "
            "the learning rate"
        )
    return metrics


def publish_fitted(
    fitted: FittedModel,
    draft: ModelDraft,
    *,
    inputs: Rows,
    outputs: Rows,
    models: ModelStore,
    report: Report,
    promote: str | None = None,
) -> ModelManifest:
    """Publish a fitted model with its History and report; point the alias `promote` at it.

    Args:
        fitted: The model.
        draft: What the publisher states about it.
        inputs: The golden batch.
        outputs: From `golden_outputs`.
        models: Where to publish.
        report: Makes the report.
        promote: An alias to point at the new version.

    Raises:
        ModelRefusedError: Keras cannot save the model, or a worker could not load it.
        StoreError: The store cannot be reached or refuses.
    """
    files = dict(report(fitted, draft))
    if fitted.history:
        files["history.json"] = json.dumps(fitted.history, indent=1).encode()
    where = f"the new version of {draft.name}"
    with scratch_folder() as folder:
        artifact = folder / "model.keras"
        _save(fitted.model, artifact, where)
        if fitted.model.compiled and read_config(artifact).get("compile_config") is None:
            log.warning(" ".join([f"{where}", DROPPED]))
        write_golden(folder / "inputs", inputs, draft.inputs)
        write_golden(folder / "outputs", outputs, draft.outputs)
        limits = WallLimits.of_artifact(artifact.stat().st_size, golden_count=len(inputs))
        with models.open_wall(limits) as wall:
            manifest = publish_checked(
                draft,
                artifact=artifact,
                inputs=folder / "inputs",
                outputs=folder / "outputs",
                models=models,
                wall=wall,
                where=where,
                files=files,
            )
    if promote is not None:
        models.promote(draft.name, manifest.version, promote)
    return manifest


def _save(model: Any, path: Path, where: str) -> None:
    try:
        save_model(model, path)
    except (FornadaError, MemoryError):
        raise
    except Exception as exc:
        # Custom layers raise anything.
        raise ModelRefusedError(
            f"{where} cannot be saved by Keras: {error_line(exc)}; {_remedy(exc)}"
        ) from exc


def _remedy(exc: Exception) -> str:
    if "functools.partial" in str(exc):
        return "for a partial use a layer of keras.layers, or a registered function of your own"
    return "give custom layers a get_config"


def _test_metrics(fitted: FittedModel) -> dict[str, float]:
    try:
        tested = fitted.model.evaluate(
            as_fed(fitted.test_items),
            fitted.test_targets,
            batch_size=_TEST_BATCH_ITEMS,
            verbose=0,
            return_dict=True,
        )
    except (MemoryError, OSError):
        raise
    except Exception as exc:
        # Losses and metrics raise anything.
        raise InputError(
            f"test: the model's loss and metrics do not take these targets ({error_line(exc)}); "
            "give targets like those that it was fitted on"
        ) from exc
    # Metrics per class are arrays.
    return {name: float(value) for name, value in tested.items() if np.ndim(value) == 0}
