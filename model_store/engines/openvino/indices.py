"""Have an OpenVINO graph say that it looked up indices which a table does not have.

OpenVINO gives zeros for them, where TensorFlow fails.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def with_index_check(outputs: Sequence[Any], items: Sequence[Any]) -> tuple[Any, bool]:
    """The graph from `items`, its parameters, to `outputs`, and whether it has one more output.

    Where it looks up indices that follow from the items, such as tokens in an embedding, that is
    a boolean: whether one was outside of its table.
    """
    openvino: Any = importlib.import_module("openvino")
    graph = openvino.Model(list(outputs), list(items))
    outside = [_is_outside(lookup) for lookup in _lookups(graph, {i.get_name() for i in items})]
    if not outside:
        return graph, False
    opset: Any = importlib.import_module("openvino.opset16")
    any_outside = outside[0]
    for other in outside[1:]:
        any_outside = opset.logical_or(any_outside, other)
    return openvino.Model([*outputs, any_outside.output(0)], list(items)), True


def _lookups(graph: Any, items: set[str]) -> Sequence[Any]:
    """The gathers of a table of known size whose indices follow from the items, by their names."""
    follow, found = set(items), []
    for operation in graph.get_ordered_ops():
        sources = [value.get_node().get_name() for value in operation.input_values()]
        if follow.isdisjoint(sources):
            continue
        follow.add(operation.get_name())
        is_gather = operation.get_type_name() == "Gather"
        if is_gather and sources[1] in follow and _row_count(operation) is not None:
            found.append(operation)
    return found


def _row_count(gather: Any) -> int | None:
    """The size of the table on the axis that the indices count; `None` where it varies."""
    axis = gather.input_value(2).get_node()
    side = gather.input_value(0).get_partial_shape()[int(axis.data.reshape(-1)[0])]
    return int(side.get_length()) if side.is_static else None


def _is_outside(gather: Any) -> Any:
    """A boolean: whether one of the indices is outside; negative ones count from the end."""
    opset: Any = importlib.import_module("openvino.opset16")
    count = _row_count(gather)
    indices = opset.convert(gather.input_value(1), "i64")
    above = opset.greater_equal(indices, np.array(count, np.int64))
    below = opset.less(indices, np.array(-(count or 0), np.int64))
    axes = np.arange(indices.output(0).get_partial_shape().rank.get_length())
    outside = opset.logical_or(above, below)
    return opset.reduce_logical_or(outside, axes, keep_dims=False)
