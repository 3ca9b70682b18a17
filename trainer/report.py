"""The training report: one HTML page that stands alone, and its figures as PNG files."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fornada.arrays import Array
from trainer.figures import training_curve
from trainer.layers import LayerRow

PAGE = "report.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMaterial:
    """All that a report is made of. The same material gives the same bytes."""

    #: The model's name in the store.
    name: str
    task: Literal["classification", "regression"]
    dataset: str
    recipe: str
    #: Of the training plan, by name.
    parameters: Mapping[str, Any]
    seed: int
    #: Of the training items and their targets.
    data_sha256: str
    #: Items that were fitted on, without those of the validation.
    train_item_count: int
    validation_item_count: int
    duration_s: float
    #: Versions by package name.
    packages: Mapping[str, str]
    #: `trainer.layers.layer_rows` makes them.
    layers: Sequence[LayerRow]
    #: Curves by name (`loss`, `val_accuracy`, …), one value an epoch.
    history: Mapping[str, Sequence[float]]
    #: As in the manifest: `test_accuracy`, `loss`, ….
    metrics: Mapping[str, float]
    #: uint8 [items, height, width], [..., 1] or [..., 3]; or float32 vectors, int32 tokens, ….
    test_items: Array
    #: int [items], positions in `classes`; for regression float [items] or [items, outputs].
    test_targets: Array
    #: float32 [items, outputs]. Classification: one output a class, or one for two classes, the
    #: probability of the second.
    test_outputs: Array
    #: Names of the classes; for regression names of the outputs.
    classes: Sequence[str]
    #: The epoch, from 1, whose weights the model has; `None`: the last.
    best_epoch: int | None = None
    #: Why the same seed may give other bytes, where it may.
    reproducibility_note: str | None = None


def report_files(material: ReportMaterial) -> dict[str, bytes]:
    """The report's files by name: `report.html`, and the figures in it as `*.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curve = training_curve(material.history)
    page = f"<!doctype html><title>{html.escape(material.name)}</title>"
    return {PAGE: page.encode(), "training_curve.png": curve}
