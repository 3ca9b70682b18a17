"""The files of a training report: the page, and its figures beside it."""

import math
from collections import ChainMap

import numpy as np

from fornada import keys
from fornada.formats.items import Array
from model_store.manifest import ModelDraft
from model_store.publishing.checked import outputs_of
from model_store.publishing.fitted import FittedModel
from trainer.report.classification import classification_report
from trainer.report.material import ReportMaterial, layer_rows, train_item_counts
from trainer.report.page import Tile, counted, render
from trainer.report.regression import regression_report
from trainer.report.training import network_section, provenance_section, training_section

_MINUTE_S, _HOUR_S = 60, 3600
#: Rows of the predict calls over the test items.
_TEST_TILE_ITEMS = 256


def model_report(fitted: FittedModel, draft: ModelDraft) -> dict[str, bytes]:
    """The files of the report on a fitted model; none where there is no report for its kind yet.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib, Pillow or Jinja2 is not installed.
    """
    items, targets = fitted.test_items, _targets(fitted.test_targets, draft)
    if items is None or targets is None:
        return {}
    return report_files(
        ReportMaterial(
            draft=draft,
            layers=layer_rows(fitted.model),
            history=fitted.history,
            test_items=items,
            test_targets=targets,
            test_outputs=outputs_of(fitted.model, items, tile_items=_TEST_TILE_ITEMS),
            best_epoch=fitted.best_epoch,
        )
    )


def _targets(given: Array | None, draft: ModelDraft) -> Array | None:
    """The targets as a report takes them: a class, or a value, per item."""
    output_count = len(draft.classes)
    if given is None or (output_count == 1) != (draft.task == "regression"):
        return None
    if math.prod(given.shape[1:]) == 1:
        targets = given.reshape(len(given))
        return targets.astype(np.int64) if _are_whole(targets) and output_count > 1 else targets
    # As categorical cross-entropy takes them.
    is_one_hot = (
        given.shape == (len(given), output_count) and (np.count_nonzero(given, axis=1) == 1).all()
    )
    return given.argmax(axis=1) if is_one_hot else None


def _are_whole(targets: Array) -> bool:
    return targets.dtype.kind in "uif" and bool((np.mod(targets, 1) == 0).all())


def report_files(material: ReportMaterial) -> dict[str, bytes]:
    """The files by name: `report.html`, which needs no other, and its figures as `*.png`.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib, Pillow or Jinja2 is not installed.
    """
    draft = material.draft
    if draft.task == "classification":
        learned = f"{len(draft.classes):,} classes"
        tiles, findings = classification_report(
            material.test_items, material.test_targets, material.test_outputs, draft.classes
        )
    else:
        learned = f"Predicts {draft.classes[0]}"
        tiles, findings = regression_report(
            material.test_outputs, material.test_targets, output=draft.classes[0]
        )
    sections = [
        training_section(material),
        *findings,
        network_section(material),
        provenance_section(material),
    ]
    page = render(
        title=draft.name,
        subtitle=f"{learned}, {_origin(draft)}",
        tiles=[*tiles, *_common_tiles(material)],
        sections=sections,
        version=draft.packages.get("fornada", ""),
    )
    return {keys.REPORT_PAGE: page, **ChainMap(*(dict(section.figures) for section in sections))}


def _origin(draft: ModelDraft) -> str:
    if draft.training is None:
        return "trained by a script of its own"
    return f"learned from {draft.training.dataset} by the recipe {draft.training.recipe}"


def _common_tiles(material: ReportMaterial) -> list[Tile]:
    parameters = Tile(
        label="Parameters",
        value=f"{material.parameter_count:,}",
        detail=f"in {counted(len(material.layers), 'layer')}",
    )
    training = material.draft.training
    if training is None:
        return [parameters]
    fitted_count, held_out_count = train_item_counts(training)
    return [
        Tile(
            label="Training",
            value=_duration(training.duration_s),
            detail=counted(material.epoch_count, "epoch"),
        ),
        parameters,
        Tile(
            label="Trained on",
            value=f"{fitted_count:,}",
            detail=f"items, {held_out_count:,} held out",
        ),
    ]


def _duration(duration_s: float) -> str:
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), _MINUTE_S)
    if duration_s < _HOUR_S:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
