"""The graph of a traced function: what calls need of it, and what TensorFlow would keep."""

import importlib
from typing import Any


def forget_gradients(graph: Any) -> None:
    """Drop the gradients that tracing has registered, which keep the graph and all its constants.

    Activations such as `silu` bring a gradient of their own. TensorFlow registers it by name for
    each call in a graph, and never removes it: 28 MB for each load of an EfficientNetB0. Calls that
    only predict never look one up.

    Args:
        graph: The `FuncGraph` of a concrete function.
    """
    framework: Any = importlib.import_module("tensorflow.python.framework.ops")
    registered = framework.gradient_registry._registry  # noqa: SLF001 - it cannot be removed otherwise
    for operation in graph.get_operations():
        # That is how TensorFlow marks the outputs of a function that has a gradient.
        if operation.type == "IdentityN" and "_gradient_op_type" in operation.node_def.attr:
            registered.pop(operation.get_attr("_gradient_op_type").decode(), None)
    for function in graph._functions.values():  # noqa: SLF001 - bodies of loops and branches
        forget_gradients(function.graph)


def without_graph(compiled: Any) -> Any:
    """What the operation that runs a concrete function needs of it.

    TensorFlow keeps a definition of its own to run. The graph that it was traced in holds the
    constants once more.
    """
    function = compiled.inference_fn
    _drop_graphs(function)
    return function


def _drop_graphs(function: Any) -> None:
    function._cached_graph = None  # noqa: SLF001 - serves gradients and further tracing
    for body in function.children:
        _drop_graphs(body)
