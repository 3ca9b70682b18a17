"""The files of a training report: the page, and its figures beside it."""

from itertools import chain

from fornada import keys
from trainer.report.classification import classification_report
from trainer.report.making import network_section, origin_section, training_section
from trainer.report.markup import text
from trainer.report.material import ReportMaterial
from trainer.report.page import Tile, render
from trainer.report.values import regression_report


def report_files(material: ReportMaterial) -> dict[str, bytes]:
    """The report's files by name: `report.html`, which needs no other, and its figures as `*.png`.

    Raises:
        InputError: Items, targets and outputs do not fit together.
        MissingExtraError: matplotlib or Pillow is not installed.
    """
    if material.task == "classification":
        tiles, findings = classification_report(
            material.test_items, material.test_targets, material.test_outputs, material.classes
        )
    else:
        tiles, findings = regression_report(
            material.test_outputs, material.test_targets, output=material.classes[0]
        )
    sections = [
        training_section(material),
        *findings,
        network_section(material.layers),
        origin_section(material),
    ]
    page = render(
        title=material.name,
        subtitle=_subtitle(material),
        tiles=[*tiles, *_common_tiles(material)],
        sections=sections,
        foot=f"Made by fornada {text(material.packages.get('fornada', ''))} when it was trained.",
    )
    figures = dict(chain.from_iterable(section.figures.items() for section in sections))
    return {keys.REPORT_PAGE: page, **figures}


def _subtitle(material: ReportMaterial) -> str:
    learned = (
        f"{len(material.classes):,} classes"
        if material.task == "classification"
        else f"Predicts {text(material.classes[0])}"
    )
    return f"{learned}, learned from {text(material.dataset)} by the recipe {text(material.recipe)}"


def _common_tiles(material: ReportMaterial) -> list[Tile]:
    epochs = max((len(values) for values in material.history.values()), default=0)
    parameters = sum(layer.parameter_count for layer in material.layers)
    return [
        Tile(
            label="Training",
            value=_duration(material.duration_s),
            detail=f"{epochs:,} epoch{'' if epochs == 1 else 's'}",
        ),
        Tile(
            label="Parameters", value=f"{parameters:,}", detail=f"in {len(material.layers)} layers"
        ),
        Tile(
            label="Trained on",
            value=f"{material.train_item_count:,}",
            detail=f"items; {material.validation_item_count:,} to validate",
        ),
    ]


def _duration(duration_s: float) -> str:
    if duration_s < 90:  # noqa: PLR2004 - seconds are read up to there
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
