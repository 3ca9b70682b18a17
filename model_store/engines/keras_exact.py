"""A model in float64, rounded to float32 once at the end: any batch gives the same bytes."""

from collections.abc import Iterator
from typing import Any

from fornada.errors import ModelRefusedError

#: TensorFlow's numbers for float32, bfloat16 and float16; and for float64.
_LESS, _FLOAT64 = {1, 14, 19}, 2
#: Operations that may handle float32 in a graph that computes in float64: inputs and constants
#: before they are cast, and the outputs after.
_NO_ARITHMETIC = {"Cast", "Const", "Identity", "NoOp", "Placeholder"}


def check_float64(compiled: Any, *, takes: str) -> None:
    """Check that a function computes in float64 throughout and rounds once.

    Args:
        compiled: A `tensorflow.ConcreteFunction`.
        takes: From `tile_text`, for the message.

    Raises:
        ModelRefusedError: A layer computes in less, whatever its dtype policy.
    """
    roundings = 0
    for node in _nodes(compiled.graph.as_graph_def()):
        types = {name: value.type for name, value in node.attr.items()}
        if node.op == "Cast":
            roundings += types["SrcT"] == _FLOAT64 and types["DstT"] in _LESS
        computes_in_less = node.op not in _NO_ARITHMETIC and not _LESS.isdisjoint(types.values())
        if computes_in_less or roundings > len(compiled.outputs):
            raise ModelRefusedError(
                f"the model for {takes} cannot be exact: {node.name} computes in less than "
                "float64; predict it without --exact (FORNADA_ENGINE=keras)"
            )


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the functions in it, such as a loop body."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
