"""The files of a training report: the page, and its figures beside it."""

from collections import ChainMap

from fornada import keys
from trainer.report.classification import classification_report
from trainer.report.material import ReportMaterial
from trainer.report.page import Tile, counted, render
from trainer.report.regression import regression_report
from trainer.report.training import network_section, provenance_section, training_section

_MINUTE_S, _HOUR_S = 60, 3600


def report_files(material: ReportMaterial) -> dict[str, bytes]:
    """The files by name: `report.html`, which needs no other, and its figures as `*.png`.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib, Pillow or Jinja2 is not installed.
    """
    draft, training = material.draft, material.training
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
        subtitle=f"{learned}, learned from {training.dataset} by the recipe {training.recipe}",
        tiles=[*tiles, *_common_tiles(material)],
        sections=sections,
        version=draft.packages.get("fornada", ""),
    )
    return {keys.REPORT_PAGE: page, **ChainMap(*(dict(section.figures) for section in sections))}


def _common_tiles(material: ReportMaterial) -> list[Tile]:
    return [
        Tile(
            label="Training",
            value=_duration(material.training.duration_s),
            detail=counted(material.epoch_count, "epoch"),
        ),
        Tile(
            label="Parameters",
            value=f"{material.parameter_count:,}",
            detail=f"in {counted(len(material.layers), 'layer')}",
        ),
        Tile(
            label="Trained on",
            value=f"{material.train_item_count:,}",
            detail=f"items, {material.validation_item_count:,} held out",
        ),
    ]


def _duration(duration_s: float) -> str:
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), _MINUTE_S)
    if duration_s < _HOUR_S:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
