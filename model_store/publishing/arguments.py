"""What a script gives `publish`, as arrays, curves and what the model was compiled for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from model_store.publishing.kinds import Loss


def pair_of(test: Any) -> tuple[Array, Array]:
    """Test items and their targets.

    Raises:
        UsageError, InputError: They are not two arrays of one length.
    """
    if not isinstance(test, tuple | list) or len(test) != 2:  # noqa: PLR2004 - items, targets
        raise UsageError(f"test is a {type(test).__name__}; give two arrays, test=(items, targets)")
    items, targets = array_of(test[0], "test items"), array_of(test[1], "test targets")
    if items.shape[:1] != targets.shape[:1]:
        raise InputError(
            f"test: the items have shape {items.shape}, the targets {targets.shape}; give one "
            "target per item"
        )
    return items, targets


def array_of(value: Any, argument: str) -> Array:
    """An argument as an array.

    Raises:
        InputError: It is none.
    """
    try:
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as exc:
        # `__array__` raises anything.
        raise InputError(
            f"{argument}: a {type(value).__name__} is not an array ({exc}); give a NumPy array"
        ) from exc


def curves_of(history: Any) -> dict[str, list[float]]:
    """Values per epoch by name, from what `model.fit` returned.

    Raises:
        UsageError: It is something else.
    """
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


def check_fitted(model: Any, curves: Mapping[str, Any], history: Any, name: str) -> None:
    """Check that a compiled model took a step: a training script may have forgotten to train.

    Raises:
        UsageError: It took none.
    """
    optimizer = getattr(model, "optimizer", None)
    if history is None and not curves and optimizer is not None and not int(optimizer.iterations):
        raise UsageError(
            f"the new {name} is compiled and was never fitted; fit it first, or give history={{}} "
            "where its weights come from elsewhere"
        )


def loss_of(model: Any, targets: Array | None) -> Loss:
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
