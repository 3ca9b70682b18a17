"""`model_store.publish`: one line in one's own training script or notebook."""

import importlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada import keys, logs
from fornada.errors import InputError, MissingExtraError, UsageError
from fornada.formats.items import Array
from fornada.memory import release_memory
from fornada.settings import Settings
from fornada.tensors import InputTensor, Kind, OutputTensor
from model_store.engines.keras_setup import import_keras
from model_store.images import ImageOptions
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.checked import GOLDEN_ITEMS, golden_outputs, packages
from model_store.publishing.fitted import FittedModel, measure, publish_fitted
from model_store.publishing.golden_items import MAX_GOLDEN_ITEMS, as_items, made_up_golden
from model_store.publishing.kinds import Loss
from model_store.publishing.stated import Side, Stated
from model_store.signature import read_signature
from model_store.store import ModelStore

log = logs.get_logger(__name__)

#: Makes the report. The trainer is above the model store, so it is found by name, when it is
#: needed (ADR 0017).
_REPORT_MODULE, _REPORT_FUNCTION = "trainer.report.files", "model_report"


def publish(
    model: Any,
    *,
    name: str,
    history: Any = None,
    classes: Sequence[str] | None = None,
    kind: Kind | Mapping[str, Kind] | None = None,
    threshold: float | None = None,
    image: ImageOptions | None = None,
    fill: float | None = None,
    allow_nan: Collection[Side] = (),
    test: tuple[Any, Any] | None = None,
    golden: Any = None,
    best_epoch: int | None = None,
    promote: str | None = None,
    store: ModelStore | None = None,
) -> ModelManifest:
    """Publish a fitted Keras model as the next version of model `name`, as `fornada train` does.

    The version exists once it was stored, read back, loaded as a worker loads it, and gave the same
    outputs for its golden batch. With `test` it gets a report too (extra `train`).

    Args:
        model: A fitted `keras.Model` of one input, and one number or vector per item.
        name: The model's name in the store.
        history: What `model.fit` returned; by default that of the model's last `fit`.
        classes: A name for each class or value, two where one number says which of two; by default
            they are numbered.
        kind: What the output is: `probabilities`, `binary`, `multilabel`, `values`, `embedding` or
            `tensor`; by default what the last layers and the loss tell.
        threshold: Probability from which a class applies, for kinds `binary` and `multilabel`.
        image: How image files become items, such as `{"resize": "crop"}`; for a model of open sides
            with a size, `{"size": (224, 224)}`. By default they are stretched to the model's size,
            as `keras.utils.image_dataset_from_directory` does.
        fill: Replaces NaN and null in items; by default they fail an item.
        allow_nan: Where NaN and infinity are allowed: `inputs`, `outputs` or both.
        test: Items and targets that the model was not fitted on, one target per item.
        golden: Items whose outputs are stored and compared at every load, 1,024 at most; by default
            the first of `test`, else generated ones.
        best_epoch: The epoch, from 1, whose weights the model has, if not the last.
        promote: An alias to point at the new version.
        store: Where to publish; by default the store that `FORNADA_*` describes.

    Raises:
        UsageError: The model is not fitted, a name is invalid, or classes, kind, threshold or image
            do not fit the model.
        InputError: The test or golden items do not fit the model, or the targets its loss.
        ModelRefusedError: Workers could not load or serve the model.
        ModelError: Training diverged.
        ConfigError, StoreError: A setting is invalid; the store cannot be reached or refuses.
    """
    publication = Publication(
        name=name,
        stated=Stated(
            kind=kind,
            classes=classes,
            threshold=threshold,
            image=image,
            fill=fill,
            allow_nan=allow_nan,
        ),
        test=test,
        golden=golden,
        promote=promote,
    )
    publication.check_names()
    models = store_or_default(store)
    models.versions(name)
    return publication.publish(model, history=history, best_epoch=best_epoch, models=models)


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """What to publish a model with; the arguments of `publish`."""

    name: str
    stated: Stated
    test: tuple[Any, Any] | None
    golden: Any
    promote: str | None

    def check_names(self) -> None:
        """Check what needs no model.

        Raises:
            UsageError: A name is invalid, or what is stated.
        """
        self.stated.check()
        keys.check_name("model name", self.name)
        if self.promote is not None:
            keys.check_name("alias", self.promote)

    def check(self, model: Any) -> "_Checked":
        """Check that the model can be published so.

        Raises:
            UsageError, InputError, ModelRefusedError: As `publish`.
        """
        where = f"the new {self.name}"
        keras = import_keras()
        if not isinstance(model, keras.Model):
            raise UsageError(f"{where} is a {type(model).__name__}; give a keras.Model")
        test_items, test_targets = (None, None) if self.test is None else _pair(self.test)
        golden = None if self.golden is None else _array(self.golden, "golden")
        signature = read_signature(model, where).with_dtype_of(
            test_items if golden is None else golden
        )
        taken = self.stated.input_of(signature, where=where)
        if test_items is not None:
            test_items = as_items(test_items, taken, where=where, argument="test")
        inputs = None if test_items is None else test_items[:GOLDEN_ITEMS]
        if golden is not None:
            golden = golden[:MAX_GOLDEN_ITEMS]
            inputs = as_items(golden, taken, where=where, argument="golden")
        allow_nan = self.stated.allows_nan_outputs
        if inputs is None:
            inputs, outputs = made_up_golden(model, taken, where=where, allow_nan=allow_nan)
        else:
            outputs = golden_outputs(model, inputs, where=where, allow_nan=allow_nan)
        # What predicting took would be in memory beside the saved model.
        release_memory(collect=True)
        given, hint = self.stated.output_of(
            signature,
            model=model,
            outputs=outputs,
            loss=_loss(model, test_targets),
            where=where,
        )
        return _Checked(
            input=taken,
            output=given,
            hint=hint,
            test_items=test_items,
            test_targets=test_targets,
            inputs=inputs,
            outputs=outputs,
        )

    def publish(
        self, model: Any, *, history: Any, best_epoch: int | None, models: ModelStore
    ) -> ModelManifest:
        """Publish the model; see the function `publish`."""
        checked = self.check(model)
        curves = _curves(getattr(model, "history", None) if history is None else history)
        _check_fitted(model, curves, history, self.name)
        epoch_count = max(map(len, curves.values()), default=0)
        if best_epoch is not None and not 1 <= best_epoch <= epoch_count:
            raise UsageError(
                f"best_epoch is {best_epoch}, and the history has {epoch_count} epochs; give one "
                "of them, counted from 1"
            )
        log.info("%s takes %s, gives %s", self.name, checked.input, checked.output)
        if checked.hint is not None:
            log.warning("; ".join([f"{self.name} gives {checked.output}", checked.hint]))
        fitted = FittedModel(
            model=model,
            history=curves,
            best_epoch=best_epoch,
            test_items=checked.test_items,
            test_targets=checked.test_targets,
        )
        draft = ModelDraft.of_one(
            checked.input,
            checked.output,
            name=self.name,
            metrics=measure(fitted),
            packages=packages(),
        )
        return publish_fitted(
            fitted,
            draft,
            inputs=checked.inputs,
            outputs=checked.outputs,
            models=models,
            report=_report_if_possible,
            promote=self.promote,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """What a model takes and gives, and the items to publish it with."""

    input: InputTensor
    output: OutputTensor
    #: A hint about the output for the publisher.
    hint: str | None
    test_items: Array | None
    test_targets: Array | None
    #: The golden batch.
    inputs: Array
    outputs: NDArray[np.float32]


def store_or_default(store: ModelStore | None) -> ModelStore:
    """`store`, or else the one that `FORNADA_*` describes.

    Raises:
        ConfigError: A setting is invalid.
    """
    return store or ModelStore.from_settings(Settings.from_env(os.environ))


def _report_if_possible(fitted: FittedModel, draft: ModelDraft) -> Mapping[str, bytes]:
    """The report; none without test items or matplotlib, which do not cost the model."""
    if fitted.test_items is None:
        return {}
    try:
        module = importlib.import_module(_REPORT_MODULE)
        files: Mapping[str, bytes] = getattr(module, _REPORT_FUNCTION)(fitted, draft)
    except MissingExtraError as exc:
        return _without_report(draft, str(exc))
    return files or _without_report(draft, "there is none yet for such outputs and targets")


def _without_report(draft: ModelDraft, reason: str) -> Mapping[str, bytes]:
    # All in one text: a script that configures no logging sees nothing else.
    log.warning("; ".join([f"{draft.name} is published without a report", reason]))
    return {}


def _pair(test: Any) -> tuple[Array, Array]:
    if not isinstance(test, tuple | list) or len(test) != 2:  # noqa: PLR2004 - items, targets
        raise UsageError(f"test is a {type(test).__name__}; give two arrays, test=(items, targets)")
    items, targets = _array(test[0], "test items"), _array(test[1], "test targets")
    if items.shape[:1] != targets.shape[:1]:
        raise InputError(
            f"test: the items have shape {items.shape}, the targets {targets.shape}; give one "
            "target per item"
        )
    return items, targets


def _array(value: Any, argument: str) -> Array:
    try:
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as exc:
        # `__array__` raises anything.
        raise InputError(
            f"{argument}: a {type(value).__name__} is not an array ({exc}); give a NumPy array"
        ) from exc


def _curves(history: Any) -> dict[str, list[float]]:
    curves = getattr(history, "history", history)
    if curves is None:
        return {}
    try:
        # Metrics per class are arrays, and no curve.
        return {
            str(name): [float(value) for value in values]
            for name, values in curves.items()
            if all(np.ndim(value) == 0 for value in values)
        }
    except (AttributeError, TypeError, ValueError) as exc:
        raise UsageError(
            f"history is a {type(history).__name__}; give what model.fit returned"
        ) from exc


def _check_fitted(model: Any, curves: Mapping[str, Any], history: Any, name: str) -> None:
    """A compiled model without one step is a training script that forgot to train."""
    optimizer = getattr(model, "optimizer", None)
    if history is None and not curves and optimizer is not None and not int(optimizer.iterations):
        raise UsageError(
            f"the new {name} is compiled and was never fitted; fit it first, or give history={{}} "
            "where its weights come from elsewhere"
        )


def _loss(model: Any, targets: Array | None) -> Loss:
    """What a model was compiled for; nothing, where it was not or does not say."""
    try:
        loss = Loss.of(model.get_compile_config())
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - losses and metrics of one's own raise anything
        loss = Loss()
    if targets is not None and np.isin(targets, (0, 1)).all():
        loss = replace(loss, of_classes=True)
    return loss
