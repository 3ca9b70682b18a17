"""TensorFlow's functions as activations, which Keras saves by a name that it cannot load again.

`Dense(10, activation=tf.nn.softmax)` is saved as the function `softmax_v2`. Publishing puts Keras's
activation of the same meaning in its place; the golden batch of the given model proves it.
"""

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fornada.storage.interface import Content
from model_store.engines.artifact.archive import read_config, write_with_config
from model_store.engines.keras_setup import import_keras

#: By the name that Keras saves: the functions of TensorFlow that have it, and Keras's activation.
#: `relu`, `sigmoid`, `tanh` and others are saved as Keras's own.
ACTIVATIONS: dict[str, tuple[str, str]] = {
    "exp": ("math.exp", "exponential"),
    "log_softmax_v2": ("nn.log_softmax", "log_softmax"),
    "softmax_v2": ("nn.softmax", "softmax"),
    "swish": ("nn.silu", "silu"),
}


def found_in(config: Any) -> dict[str, str]:
    """TensorFlow's activations in a configuration: `tf.nn.softmax` by its saved name."""
    found: dict[str, str] = {}

    def note(name: str) -> str:
        found[name] = f"tf.{ACTIVATIONS[name][0]}"
        return name

    _replaced(config, note)
    return found


def replacements(artifact: Content) -> dict[str, str]:
    """What publishing replaces in a `.keras` file: `softmax` by `tf.nn.softmax`."""
    found = found_in(read_config(artifact))
    return {given: ACTIVATIONS[name][1] for name, given in found.items()}


def with_keras_activations(config: Any, *, keep: Collection[str] = ()) -> Any:
    """The configuration with Keras's activations for TensorFlow's.

    Args:
        config: Of a `.keras` file.
        keep: Saved names that stand for other functions.
    """

    def keras_name(name: str) -> Any:
        return _function(name) if name in keep else ACTIVATIONS[name][1]

    return _replaced(config, keras_name)


def published(artifact: Content, folder: Path) -> Content:
    """The `.keras` file to store: as it is, or with Keras's activations in a file in `folder`."""
    config = read_config(artifact)
    changed = with_keras_activations(config)
    if changed == config:
        return artifact
    write_with_config(artifact, changed, folder / "model.keras")
    return folder / "model.keras"


def saved_functions() -> dict[str, Any]:
    """TensorFlow's functions by the names under which Keras saves them.

    On another backend Keras's activations of the same meaning.
    """
    keras = import_keras()
    if keras.backend.backend() == "tensorflow":
        return {name: _tensorflow_function(name) for name in ACTIVATIONS}
    return {name: keras.activations.get(own) for name, (_, own) in ACTIVATIONS.items()}


def own_names(model: Any) -> set[str]:
    """Names of the table that functions of a model have which are not TensorFlow's."""
    if "tensorflow" not in sys.modules:
        return set(ACTIVATIONS)
    return {
        function.__name__
        for layer in model._flatten_layers()  # noqa: SLF001 - all layers, nested ones too
        for function in vars(layer).values()
        if callable(function)
        and getattr(function, "__name__", None) in ACTIVATIONS
        and not _is_tensorflows(function)
    }


def _is_tensorflows(function: Any) -> bool:
    return function is _tensorflow_function(function.__name__)


def _tensorflow_function(name: str) -> Any:
    module, _, function = ACTIVATIONS[name][0].partition(".")
    return getattr(getattr(sys.modules["tensorflow"], module), function)


def _function(name: str) -> dict[str, Any]:
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


def _replaced(config: Any, replacement: Callable[[str], Any]) -> Any:
    if isinstance(config, list):
        return [_replaced(part, replacement) for part in config]
    if not isinstance(config, dict):
        return config
    name = config.get("config")
    if (
        isinstance(name, str)
        and name in ACTIVATIONS
        and (config.get("module"), config.get("class_name")) == ("builtins", "function")
    ):
        return replacement(name)
    return {
        key: value if key == "compile_config" else _replaced(value, replacement)
        for key, value in config.items()
    }
