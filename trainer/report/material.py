"""What a training report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.formats.items import Array
from fornada.records import Task
from trainer.report.layers import LayerRow


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMaterial:
    """All that a report is made of. The same material gives the same bytes."""

    #: The model's name in the store.
    name: str
    task: Task
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
    #: `trainer.report.layers.layer_rows` makes them.
    layers: Sequence[LayerRow]
    #: Curves by name (`loss`, `val_accuracy`, …), one value an epoch.
    history: Mapping[str, Sequence[float]]
    #: As in the manifest: `test_accuracy`, `loss`, ….
    metrics: Mapping[str, float]
    #: uint8 [items, height, width], [..., 1] or [..., 3]; or float32 vectors, int32 tokens, ….
    test_items: Array
    #: Classification: int [items], positions in `classes`. Regression: float [items].
    test_targets: Array
    #: float32 [items, outputs]: one output a class, or the one value of a regression.
    test_outputs: Array
    #: Names of the outputs: the classes, or the value of a regression.
    classes: Sequence[str]
    #: The epoch, from 1, whose weights the model has; `None`: the last.
    best_epoch: int | None = None
    #: Why the same seed may give other bytes, where it may.
    reproducibility_note: str | None = None
