"""Targets as a loss takes them become what a report compares with."""

from typing import Any

import numpy as np

from fornada.tensors import OutputTensor
from trainer.report.material import targets_of


def _of(kind: Any, width: int, targets: Any) -> Any:
    output = OutputTensor(name="outputs", shape=[width], kind=kind)
    found = targets_of(None if targets is None else np.asarray(targets), output)
    return None if found is None else found.tolist()


def test_targets_that_fit_the_kind_are_taken() -> None:
    for kind, width, targets, expected in (
        ("probabilities", 3, [[0], [2]], [0, 2]),
        ("probabilities", 3, [0.0, 2.0], [0, 2]),
        ("probabilities", 3, [[0, 0, 1], [1, 0, 0]], [2, 0]),
        ("binary", 1, [[1.0], [0.0]], [1, 0]),
        ("binary", 1, [True, False], [1, 0]),
        ("multilabel", 2, [[1.0, 1.0], [0.0, 0.0]], [[1, 1], [0, 0]]),
        ("values", 1, [[0.5], [2.5]], [0.5, 2.5]),
        ("values", 2, [[0.5, 1.0], [2.5, 1.0]], [[0.5, 1.0], [2.5, 1.0]]),
    ):
        assert expected == _of(kind, width, targets), (kind, targets)


def test_targets_that_do_not_fit_are_none() -> None:
    for kind, width, targets in (
        ("probabilities", 3, [0, 3]),
        ("probabilities", 3, [[0, 1, 1]]),
        ("probabilities", 3, [0.5, 1]),
        ("binary", 1, [0, 2]),
        ("binary", 1, [[1, 0], [0, 1]]),
        ("multilabel", 2, [1, 0]),
        ("multilabel", 2, [[0, 2]]),
        ("values", 2, [0.5, 1.0]),
        ("embedding", 4, [0, 1]),
        ("tensor", 4, [0, 1]),
        ("probabilities", 3, None),
    ):
        assert _of(kind, width, targets) is None, (kind, targets)
