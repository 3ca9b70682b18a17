"""Write `model_store/safety/keras_objects.txt`: what of the installed Keras a model may name.

python docs/generate_keras_objects.py            writes it; read the diff before you commit it
python docs/generate_keras_objects.py --check    exits 1 if it is not what Keras has
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.engines.keras_setup import import_keras
from model_store.safety.config_check import OBJECTS_FILE
from model_store.safety.denied_objects import DENIED

#: Public modules whose classes a configuration may name.
_CLASS_MODULES = (
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "models",
    "quantizers",
    "regularizers",
)
_FUNCTION_MODULES = ("activations", "ops", "ops.image")
#: Where Keras defines layers and operations.
_SOURCES = ("activations", "applications", "layers", "models", "ops", "quantizers")
_NOT_FUNCTIONS = {"deserialize", "get", "serialize"}


def objects_text() -> str:
    """The file's text: a class or a `function()` a line, sorted."""
    keras = import_keras()
    names = {*_public_classes(keras), *_internal_classes(), *_public_functions()}
    head = (
        f"# What of Keras {keras.__version__} a model may name. Written by\n"
        "# docs/generate_keras_objects.py, less what denied_objects.py denies.\n"
    )
    return head + "".join(f"{name}\n" for name in sorted(names - {*DENIED, *_calls(DENIED)}))


def _calls(names: Any) -> set[str]:
    return {f"{name}()" for name in names}


def _public_classes(keras: Any) -> Iterator[str]:
    for module in _CLASS_MODULES:
        for name, found in inspect.getmembers(getattr(keras, module), inspect.isclass):
            if not issubclass(found, keras.Model) or name in {"Functional", "Sequential"}:
                yield f"keras.{module}.{name}"
    # Names under which Keras writes them, where they differ from the module's.
    for name, found in _registered().items():
        if inspect.isclass(found) and _is_written_elsewhere(name, found, keras):
            yield name
    yield "keras.random.SeedGenerator"


def _is_written_elsewhere(name: str, found: Any, keras: Any) -> bool:
    """Whether Keras writes a class outside the public modules: `keras.Sequential`, old layers."""
    return found in {keras.Sequential, keras.DTypePolicy} or name.startswith(
        "keras._legacy.layers."
    )


def _internal_classes() -> Iterator[str]:
    """Layers and operations that Keras writes under the module that defines them."""
    operation = importlib.import_module("keras.src.ops.operation").Operation
    public = {id(found) for found in _registered().values()}
    for module in _source_modules():
        for name, found in inspect.getmembers(module, inspect.isclass):
            if (
                found.__module__ == module.__name__
                and issubclass(found, operation)
                and id(found) not in public
                and not _is_base(name)
            ):
                yield f"{module.__name__}.{name}"
    # Keras 3.0 to 3.7 wrote it so.
    yield "keras.src.models.sequential.Sequential"


def _is_base(name: str) -> bool:
    # Layers of the public API derive from them; no model holds one.
    return name.startswith("Base") or name in {"ConvLSTM", "DataLayer", "IndexLookup", "Merge"}


def _source_modules() -> Iterator[Any]:
    for source in _SOURCES:
        package = importlib.import_module(f"keras.src.{source}")
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("_test"):
                yield importlib.import_module(found.name)


def _public_functions() -> Iterator[str]:
    for name, found in _registered().items():
        module, _, function = name.rpartition(".")
        if (
            inspect.isfunction(found)
            and module.removeprefix("keras.") in _FUNCTION_MODULES
            and function not in _NOT_FUNCTIONS
        ):
            yield f"{name}()"


def _registered() -> dict[str, Any]:
    """The objects of Keras's public API, by the name under which it writes them."""
    registered: dict[str, Any] = importlib.import_module(
        "keras.src.api_export"
    ).REGISTERED_NAMES_TO_OBJS
    return registered


def main() -> int:
    """Write the file, or with `--check` say whether it is stale."""
    path, text = Path(OBJECTS_FILE), objects_text()
    if "--check" not in sys.argv[1:]:
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{path} is stale; run: python docs/generate_keras_objects.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
