"""`model_store.publish`: one line in one's own training script or notebook."""

import importlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada import keys, logs
from fornada.errors import MissingExtraError, UsageError
from fornada.formats.rows import Rows
from fornada.memory import release_memory
from fornada.settings import Settings
from fornada.tensors import InputTensor, Kind
from model_store.engines.keras_setup import import_keras, packed_inputs
from model_store.images import ImageOptions
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.arguments import (
    NO_TEST,
    TestItems,
    arrays_of,
    check_fitted,
    curves_of,
    losses_of,
    test_of,
)
from model_store.publishing.checked import GOLDEN_ITEMS, golden_outputs, packages
from model_store.publishing.fitted import FittedModel, measure, publish_fitted
from model_store.publishing.golden_items import MAX_GOLDEN_ITEMS, as_items, made_up_golden
from model_store.publishing.stated import Side, Stated, StatedOutput
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
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    kind: Kind | Mapping[str, Kind] | None = None,
    threshold: float | Mapping[str, float] | None = None,
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
        model: A fitted `keras.Model`.
        name: The model's name in the store.
        history: What `model.fit` returned; by default that of the model's last `fit`.
        classes: A name for each class or value, two where one number says which of two; by default
            they are numbered. Of several outputs a mapping by name, as kind and threshold are.
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
        signature = read_signature(model, where)
        takes = self.stated.inputs_of(signature, where=where)
        test = NO_TEST if self.test is None else test_of(self.test, takes)
        golden = None if self.golden is None else arrays_of(self.golden, "golden")
        signature = signature.with_dtypes_of(test.items if golden is None else golden)
        takes = self.stated.inputs_of(signature, where=where)
        inputs = None
        if test.items is not None:
            given = as_items(test.items, takes, where=where, argument="test")
            packed = given.only if len(takes) == 1 else packed_inputs(model, given.arrays)
            test = test._replace(items=packed)
            inputs = given[:GOLDEN_ITEMS]
        if golden is not None:
            inputs = as_items(golden, takes, where=where, argument="golden")[:MAX_GOLDEN_ITEMS]
        allow_nan = self.stated.allows_nan_outputs
        if inputs is None:
            inputs, outputs = made_up_golden(model, takes, where=where, allow_nan=allow_nan)
        else:
            outputs = golden_outputs(model, inputs, takes=takes, where=where, allow_nan=allow_nan)
        # What predicting took would be in memory beside the saved model.
        release_memory(collect=True)
        gives = self.stated.outputs_of(
            signature,
            model=model,
            outputs=outputs,
            losses=losses_of(model, signature, test.targets),
            where=where,
        )
        return _Checked(takes=takes, gives=gives, test=test, inputs=inputs, outputs=outputs)

    def publish(
        self, model: Any, *, history: Any, best_epoch: int | None, models: ModelStore
    ) -> ModelManifest:
        """Publish the model; see the function `publish`."""
        checked = self.check(model)
        curves = curves_of(getattr(model, "history", None) if history is None else history)
        check_fitted(model, curves, history, self.name)
        epoch_count = max(map(len, curves.values()), default=0)
        if best_epoch is not None and not 1 <= best_epoch <= epoch_count:
            raise UsageError(
                f"best_epoch is {best_epoch}, and the history has {epoch_count} epochs; give one "
                "of them, counted from 1"
            )
        tensors = [given.tensor for given in checked.gives]
        takes, gives = (", ".join(map(str, each)) for each in (checked.takes, tensors))
        log.info("%s takes %s, gives %s", self.name, takes, gives)
        for tensor, hint in checked.gives:
            if hint is not None:
                log.warning("; ".join([f"{self.name} gives {tensor}", hint]))
        fitted = FittedModel(
            model=model,
            history=curves,
            best_epoch=best_epoch,
            test_items=checked.test.items,
            test_targets=checked.test.targets,
        )
        draft = ModelDraft(
            name=self.name,
            inputs=checked.takes,
            outputs=tensors,
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

    takes: list[InputTensor]
    gives: list[StatedOutput]
    test: TestItems
    #: The golden batch.
    inputs: Rows
    outputs: Rows


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
