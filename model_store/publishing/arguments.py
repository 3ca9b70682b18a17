"""What a script gives `publish`, as arrays, curves and what the model was compiled for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.tensors import InputTensor
from model_store.publishing.kinds import Loss
from model_store.signature import Signature


class TestItems(NamedTuple):
    """Items and targets that a model is tested on."""

    #: An array, or arrays as a model of several inputs takes them.
    items: Any
    #: As the model's loss takes them.
    targets: Any


NO_TEST = TestItems(None, None)


def test_of(test: Any, takes: Sequence[InputTensor]) -> TestItems:
    """Test items and their targets.

    Raises:
        UsageError, InputError: They are not two arrays of one length, or not one for each input.
    """
    if not isinstance(test, tuple | list) or len(test) != 2:  # noqa: PLR2004 - items, targets
        raise UsageError(f"test is a {type(test).__name__}; give two arrays, test=(items, targets)")
    items = arrays_of(test[0], "test items")
    if len(takes) > 1 and not isinstance(items, Mapping):
        names = ", ".join(repr(tensor.name) for tensor in takes)
        raise UsageError(f"test items are one array; give one for each input by name: {names}")
    targets = test[1]
    if not isinstance(targets, Mapping | list | tuple):
        targets = array_of(targets, "test targets")
    shapes, of_targets = ([np.shape(each) for each in _each(side)] for side in (items, targets))
    if len({shape[:1] for shape in (*shapes, *of_targets)}) > 1:
        have, wanted = (", ".join(map(str, side)) for side in (shapes, of_targets))
        raise InputError(
            f"test: the items have shape {have}, the targets {wanted}; give one target per item"
        )
    return TestItems(items, targets)


def _each(arrays: Any) -> list[Any]:
    if isinstance(arrays, Mapping):
        return list(arrays.values())
    return list(arrays) if isinstance(arrays, list | tuple) else [arrays]


def arrays_of(value: Any, argument: str) -> Any:
    """An array, or arrays by the names of several inputs.

    Raises:
        InputError: One is none.
    """
    if isinstance(value, Mapping):
        return {str(name): array_of(each, argument) for name, each in value.items()}
    return array_of(value, argument)


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


def losses_of(model: Any, signature: Signature, targets: Any) -> list[Loss]:
    """What a model was compiled for, by output; nothing, where it was not or does not say."""
    try:
        compile_config = model.get_compile_config()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - losses and metrics of one's own raise anything
        compile_config = None
    losses = [
        Loss.of(compile_config, output=given.name, number=number)
        for number, given in enumerate(signature.outputs)
    ]
    if isinstance(targets, np.ndarray) and np.isin(targets, (0, 1)).all():
        losses = [replace(loss, of_classes=True) for loss in losses]
    return losses
