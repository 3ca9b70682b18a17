"""The files of a training report: the page, and its figures beside it."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fornada import keys
from fornada.figures.predictions import predicted_by
from fornada.figures.reference import Reference
from fornada.formats.rows import Rows
from fornada.tensors import BINARY_CLASSES, THRESHOLD_KINDS, OutputTensor
from model_store.engines.keras_setup import import_keras
from model_store.manifest import ModelDraft
from model_store.publishing.checked import outputs_of
from model_store.publishing.fitted import FittedModel
from trainer.data.images import as_pixels
from trainer.evaluation.binary import are_shares
from trainer.report.binary import binary_report
from trainer.report.classification import classification_report
from trainer.report.material import (
    Outcome,
    ReportMaterial,
    layer_rows,
    targets_by_output,
    targets_of,
    train_item_counts,
)
from trainer.report.multilabel import multilabel_report
from trainer.report.page import Section, Tile, counted, render, shape, short
from trainer.report.training import (
    network_section,
    provenance_section,
    training_section,
    untested_section,
)
from trainer.report.values import values_report

_MINUTE_S, _HOUR_S = 60, 3600
#: Rows of the predict calls over the test items.
_TEST_TILE_ITEMS = 256


def model_report(fitted: FittedModel, draft: ModelDraft) -> dict[str, bytes]:
    """The files of the report on a fitted model, and what it predicts for its test items.

    None where nothing is known of its quality.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib, Pillow, scikit-learn or Jinja2 is not installed.
    """
    tested = _tested(fitted, draft)
    if not tested and not fitted.history:
        return {}
    report = report_files(
        ReportMaterial(
            draft=draft,
            layers=layer_rows(fitted.model),
            history=fitted.history,
            tested=tested,
            best_epoch=fitted.best_epoch,
        )
    )
    return {**report, **_reference(tested, draft)}


def _reference(tested: Mapping[str, Outcome], draft: ModelDraft) -> dict[str, bytes]:
    found = {
        output.name: predicted_by(tested[output.name].outputs, output)
        for output in draft.outputs
        if output.name in tested
    }
    return Reference.files({name: each for name, each in found.items() if each is not None})


def report_files(material: ReportMaterial) -> dict[str, bytes]:
    """The files by name: `report.html`, which needs no other, and its figures as `*.png`.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib, Pillow, scikit-learn or Jinja2 is not installed.
    """
    draft = material.draft
    tiles, findings = _all_findings(material)
    sections = [
        *([training_section(material)] if material.history else []),
        *findings,
        network_section(material),
        provenance_section(material),
    ]
    page = render(
        title=draft.name,
        subtitle=f"{_learned(draft.outputs)}, {_origin(draft)}",
        tiles=[*tiles, *_common_tiles(material)],
        sections=sections,
        version=draft.packages.get("fornada", ""),
    )
    return {keys.REPORT_PAGE: page, **ChainMap(*(dict(section.figures) for section in sections))}


def _tested(fitted: FittedModel, draft: ModelDraft) -> dict[str, Outcome]:
    """What the model gives for the test items, for each output whose targets are known."""
    if fitted.test_items is None:
        return {}
    given = targets_by_output(fitted.test_targets, draft.outputs)
    targets = {output.name: targets_of(given[output.name], output) for output in draft.outputs}
    if all(each is None for each in targets.values()):
        return {}
    # Several inputs are in the order in which Keras flattens a dict, as the draft's are.
    items = Rows(*import_keras().tree.flatten(fitted.test_items))
    predicted = outputs_of(
        fitted.model, items, takes=draft.inputs, tile_items=_TEST_TILE_ITEMS
    ).named(draft.outputs)
    shown = items.only if len(draft.inputs) == 1 else None
    found = {}
    for output in draft.outputs:
        truth = targets[output.name]
        if truth is None:
            continue
        outputs = predicted[output.name].reshape(len(items), -1).astype(np.float32)
        if output.kind not in THRESHOLD_KINDS or are_shares(outputs):
            found[output.name] = Outcome(items=shown, targets=truth, outputs=outputs)
    return found


def _all_findings(material: ReportMaterial) -> tuple[list[Tile], list[Section]]:
    """What the test items say of each output, in sections of its own where there are several."""
    draft, tested = material.draft, material.tested
    if len(draft.outputs) == 1:
        return _findings(tested.get(draft.output.name), draft.output, draft)
    tiles: list[Tile] = []
    sections: list[Section] = []
    for number, output in enumerate(draft.outputs, start=1):
        of_output, findings = _findings(tested.get(output.name), output, draft)
        name = short(output.name)
        # The first one is the headline.
        tiles += [replace(tile, label=f"{name}: {tile.label}") for tile in of_output[:1]]
        sections += [section.of_output(number, name) for section in findings]
    untested = [output for output in draft.outputs if output.name not in tested]
    if untested:
        sections.append(untested_section(untested))
    return tiles, sections


def _findings(
    tested: Outcome | None, given: OutputTensor, draft: ModelDraft
) -> tuple[list[Tile], list[Section]]:
    """What the test items say of an output of this kind; nothing of an embedding."""
    if tested is None:
        return [], []
    items, targets, outputs = tested.items, tested.targets, tested.outputs
    if items is not None and draft.input.image is not None:
        items = as_pixels(items)
    classes = list(given.classes or (BINARY_CLASSES if given.kind == "binary" else given.columns))
    threshold = given.least_probability
    match given.kind:
        case "probabilities":
            return classification_report(items, targets, outputs, classes)
        case "binary":
            return binary_report(items, targets, outputs, classes, threshold=threshold)
        case "multilabel":
            return multilabel_report(items, targets, outputs, classes, threshold=threshold)
        case "values":
            return values_report(outputs, targets, classes)
    return [], []


def _learned(outputs: Sequence[OutputTensor]) -> str:
    if len(outputs) > 1:
        return f"Gives {', '.join(short(output.name) for output in outputs)}"
    (given,) = outputs
    classes = given.classes or given.columns
    phrases = {
        "probabilities": f"{len(classes):,} classes",
        "binary": " or ".join(short(name) for name in given.classes or BINARY_CLASSES),
        "multilabel": f"{len(classes):,} labels",
        "values": f"Predicts {classes[0] if len(classes) == 1 else f'{len(classes):,} values'}",
        "embedding": f"Embedding of {given.width:,} numbers",
        "tensor": f"Gives {shape(given.shape)}",
    }
    return phrases[given.kind]


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
