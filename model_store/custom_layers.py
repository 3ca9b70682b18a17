"""Import the layers of others that an operator allows; they run as code, like any import."""

import importlib
from collections.abc import Mapping

from fornada.errors import ConfigError


def import_layers(layers: Mapping[str, str]) -> dict[str, type]:
    """The classes behind names.

    Args:
        layers: `package.module:ClassName` by any name; from `check_artifact`, so all are allowed.

    Returns:
        The class by the same names.

    Raises:
        ConfigError: One cannot be imported.
    """
    return {name: _class(layer) for name, layer in layers.items()}


def _class(layer: str) -> type:
    module, _, name = layer.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"FORNADA_ALLOWED_LAYERS names {layer}, which cannot be imported ({exc}); install its "
            "package here"
        ) from exc
    if not isinstance(found, type):
        raise ConfigError(f"FORNADA_ALLOWED_LAYERS names {layer}, which is no class")
    return found
