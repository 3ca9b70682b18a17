"""How large a model of a `.keras` file is, before Keras makes any of its weights."""

import contextlib
import importlib
import math
from collections.abc import Iterator
from typing import Any

from model_store.safety.config_check import refusal

#: Weights that layers make beyond those saved, such as the states of random generators, and what
#: quantised layers make on the way.
_FREE_NUMBERS, _MOST_TIMES = 2**20, 4
#: Numbers in any output of a layer for one item: 1 GiB in float32.
_MAX_ITEM_NUMBERS = 2**28


def check_built_sizes(keras: Any, config: Any, *, where: str, element_count: int) -> None:
    """Build a model without weights, and check what it would take.

    Layers compute only shapes: it takes a fraction of the time of a load, and no memory.

    Args:
        keras: The module.
        config: Of a checked model of Keras's own layers.
        where: What it was read from, for messages.
        element_count: The numbers in its weights file.

    Raises:
        ModelRefusedError: It has more weights than its file, or an item becomes too large on its
            way through the layers.
        Exception: Keras cannot build it.
    """
    serialization: Any = importlib.import_module("keras.src.saving.serialization_lib")
    with _without_weights(keras) as weights, serialization.ObjectSharingScope():
        model = keras.saving.deserialize_keras_object(
            {**config, "compile_config": None}, safe_mode=True
        )
    wanted = sum(math.prod(weight.shape) for weight in weights)
    if wanted > _MOST_TIMES * element_count + _FREE_NUMBERS:
        raise refusal(where, f"needs {wanted} weights, and has only {element_count} weights in all")
    for name, shape in _output_shapes(model):
        numbers = math.prod(size or 1 for size in shape[1:])
        if numbers > _MAX_ITEM_NUMBERS:
            raise refusal(
                where,
                f"has a layer {name[:80]!r} that makes {numbers} numbers of an item, over "
                f"{_MAX_ITEM_NUMBERS}",
            )


@contextlib.contextmanager
def _without_weights(keras: Any) -> Iterator[list[Any]]:
    """A scope in which layers get no weights; the list of those that they ask for."""
    state: Any = importlib.import_module("keras.src.backend.common.global_state")
    given = state.get_global_attribute("uninitialized_variables", [])
    weights: list[Any] = []
    state.set_global_attribute("uninitialized_variables", weights)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield weights
    finally:
        state.set_global_attribute("uninitialized_variables", given)


def _output_shapes(model: Any) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    # A Sequential has its graph beside it.
    graph = getattr(model, "_functional", None) or model
    for operation in getattr(graph, "operations", ()):
        yield from _output_shapes(operation)
        for node in operation._inbound_nodes:  # noqa: SLF001 - a layer may be called many times
            for output in node.output_tensors:
                yield operation.name, tuple(output.shape)
