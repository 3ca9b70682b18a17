"""Layers that Keras has on TensorFlow alone, refused by name on other backends."""

from typing import Any

from fornada.errors import ModelRefusedError
from model_store.safety.config_check import walk

#: They look up or hash texts and integers in tables of TensorFlow.
_NAMES = frozenset(
    {"HashedCrossing", "Hashing", "IntegerLookup", "StringLookup", "TextVectorization"}
)


def check_layers(config: Any, *, where: str, backend: str) -> None:
    """Check that a model has only layers that another backend than TensorFlow has.

    Args:
        config: Of its `.keras` file.
        where: What it was read from, for messages.
        backend: What Keras runs on.

    Raises:
        ModelRefusedError: It has another one; names the layer and the engine that runs it.
    """
    for node, _, _ in walk(config):
        if isinstance(node, dict) and node.get("class_name") in _NAMES:
            options = node.get("config")
            name = options.get("name") if isinstance(options, dict) else None
            raise ModelRefusedError(
                f"{where} has a layer {str(name)[:80]!r} ({node['class_name']}), which Keras has "
                f"on TensorFlow and not on {backend}; FORNADA_ENGINE=keras predicts it, and "
                "publishes it where TensorFlow is installed (pip install 'fornada[worker]')"
            )
