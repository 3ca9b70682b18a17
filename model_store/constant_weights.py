"""A Keras model's weights as constants of its graph, which TensorFlow prepares only once."""

import math
from typing import Any

#: TensorFlow takes 4 times as much for good, and 11 times while it prepares the graph.
MOST_CONSTANT_BYTES = 24 * 2**20


def constant_bytes(model: Any) -> int:
    """How much of the model's weights is made constant: all, or nothing where it is too much."""
    size_bytes = sum(math.prod(w.shape) * w.value.dtype.size for w in model.weights)
    return size_bytes if size_bytes <= MOST_CONSTANT_BYTES else 0


def constant_weights(model: Any, keras: Any, tensorflow: Any) -> Any:
    """A context in which calls of the model are traced with its weights as constants (ADR 0015).

    Nor do such calls change the model: what its layers keep of a call is gone with it.
    """
    weights = model.weights if constant_bytes(model) else []
    # In the graph that is being traced they have no values.
    with tensorflow.init_scope():
        values = [(weight, weight.numpy()) for weight in weights]
    return keras.StatelessScope(values)
