"""The objects that the configuration of a `.keras` file may name: Keras's own, and allowed ones.

The file is checked against these lists before Keras sees it; anything not listed is refused, and
the refusal says all that was found.
"""

import json
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fornada.errors import ModelRefusedError, ModelUnusableError, error_line
from model_store.safety.allowed_objects import AllowedObjects
from model_store.safety.denied_objects import DENIED, DENIED_VALUES

OBJECTS_FILE = Path(__file__).with_name("keras_objects.txt")
_CONFIG = "config.json"
MAX_CONFIG_DEPTH = 64
#: Findings that a refusal spells out.
_MAX_FINDINGS = 20

_MODELS = frozenset({"Functional", "Sequential"})
#: Values without a module that Keras writes: all as large as their text, so the file's size bounds
#: them.
_VALUES = frozenset({"__bytes__", "__ellipsis__", "__keras_tensor__", "__slice__"})
_ARRAYS = frozenset({"__numpy__", "__tensor__"})
_DTYPES = frozenset(
    {
        *("bool", "int4", "int8", "int16", "int32", "int64", "uint4", "uint8", "uint16"),
        *("uint32", "uint64", "bfloat16", "float16", "float32", "float64"),
        *("float8_e4m3fn", "float8_e5m2"),
    }
)
#: Layers with a vocabulary, which Keras would also read from a path or URL.
_LOOKUPS = frozenset({"IntegerLookup", "StringLookup", "TextVectorization"})
#: Modules whose classes may appear in a `compile_config`, which no load looks at.
_COMPILE_MODULES = frozenset(
    {"keras.losses", "keras.metrics", "keras.optimizers", "keras.optimizers.schedules"}
)
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


@dataclass(kw_only=True, slots=True)
class _Findings:
    """What is wrong with a configuration, and what of the allowed objects it uses."""

    allowed: AllowedObjects
    known_functions: Collection[str]
    facts: list[str] = field(default_factory=list)
    own_code: list[str] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    #: Something that no setting and no release allows.
    has_denied: bool = False

    def add(self, fact: str, *, denied: bool = False) -> None:
        self.has_denied |= denied
        if fact not in self.facts:
            self.facts.append(fact)


def check_config(
    data: bytes,
    *,
    where: str,
    allowed_objects: Collection[str] = (),
    known_functions: Collection[str] = (),
) -> dict[str, str]:
    """Check every object that a configuration names.

    Args:
        data: `config.json`.
        where: What it was read from, for messages.
        allowed_objects: Code that the operator trusts, as `Trust.allowed_objects`.
        known_functions: Names under which Keras saves functions that the caller supplies.

    Returns:
        Those of them that it uses: `module:Name` by the name under which Keras looks them up.

    Raises:
        ModelRefusedError: It is not a configuration, or names something that is not allowed.
    """
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise refusal(where, f"has a {_CONFIG} that is not JSON: {error_line(exc)}") from exc
    found = _Findings(allowed=AllowedObjects.of(allowed_objects), known_functions=known_functions)
    if not isinstance(config, dict) or not _is_model(config, found.allowed):
        raise refusal(where, f"has a {_CONFIG} that is not a Sequential or Functional model")
    for node, in_compile, depth in walk(config):
        if depth > MAX_CONFIG_DEPTH:
            raise refusal(where, f"has a {_CONFIG} nested over {MAX_CONFIG_DEPTH} deep")
        if isinstance(node, dict) and "class_name" in node:
            _check_object(node, found, in_compile=in_compile)
        elif _is_bare_lambda(node):
            found.add(_refused_value("__lambda__"), denied=True)
        elif isinstance(node, str):
            found.used.update(found.allowed.called(node))
    if found.facts or found.own_code:
        # Another worker may allow the code, or have a release that knows the object.
        error = ModelUnusableError if found.has_denied else ModelRefusedError
        raise error(f"{where} {_refusal_text(found)}")
    return found.used


def refusal(where: str, fact: str) -> ModelUnusableError:
    """The error for a file that is not a plain `.keras` file, from what is wrong with it."""
    return ModelUnusableError(
        f"{where} {fact}; save the model again with model.save('model.keras'), and publish it again"
    )


@cache
def keras_objects() -> frozenset[str]:
    """What of Keras a configuration may name: classes, and functions as `name()`."""
    lines = OBJECTS_FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def _is_model(config: dict[str, Any], allowed: AllowedObjects) -> bool:
    if config.get("class_name") in _MODELS or allowed.target(config) is not None:
        return True
    # Code of its own, which is said with all else.
    return _registered_alone(config) is not None and not _is_keras(config.get("module"))


def walk(config: dict[str, Any]) -> Iterator[tuple[object, bool, int]]:
    """Every value in `config`, whether it is in a `compile_config`, and its depth."""
    pending: list[tuple[object, bool, int]] = [(config, False, 0)]
    while pending:
        node, in_compile, depth = pending.pop()
        yield node, in_compile, depth
        if isinstance(node, dict):
            for key, value in reversed(node.items()):
                pending.append((value, in_compile or key == "compile_config", depth + 1))
        elif isinstance(node, list):
            pending.extend((value, in_compile, depth + 1) for value in reversed(node))


def _check_object(node: dict[str, Any], found: _Findings, *, in_compile: bool) -> None:
    module, name, config = node.get("module"), node["class_name"], node.get("config")
    if not isinstance(name, str) or not isinstance(module, str | None):
        found.add(f"names a class by something other than text: {str(name)[:80]}")
        return
    if in_compile and _is_of_compile(module, name):
        return
    if "module" not in node and name not in _VALUES | _ARRAYS | set(DENIED_VALUES):
        # Keras would take it for its old format, which looks up the class by its bare name.
        found.add(f"uses {name[:120]} without a module, which is not on the list")
        return
    target = found.allowed.target(node)
    if target is not None:
        _add_used(found, node, target)
    elif module is None and name in _VALUES | _ARRAYS:
        _check_value(name, config, found)
    elif name == "function":
        _check_function(node, found)
    elif _is_keras(module):
        _check_keras_object(node, f"{module}.{name}", found)
    else:
        _add_foreign(found, node, in_compile=in_compile)


def _is_keras(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "keras"


def _add_used(found: _Findings, node: dict[str, Any], target: str) -> None:
    registered = found.allowed.lookup_name(node)
    # Keras looks up this name, which must lead to the allowed object and no other.
    if registered is None:
        found.add(f"registers {target} as {str(node.get('registered_name'))[:120]!r}")
    elif found.used.setdefault(registered, target) != target:
        found.add(f"registers two classes as {registered[:120]!r}")


def _check_keras_object(node: dict[str, Any], full_name: str, found: _Findings) -> None:
    registered = node.get("registered_name")
    if registered not in (None, node["class_name"]):
        found.add(
            f"uses the custom object {str(registered)[:120]!r} under the name of {full_name[:120]}"
        )
    elif full_name in DENIED:
        found.add(f"uses {full_name}, which is refused: {DENIED[full_name]}", denied=True)
    elif full_name not in keras_objects():
        found.add(f"uses {full_name[:200]}, which is not on the list of what a model may name")
    elif node["class_name"] in _LOOKUPS:
        _check_vocabulary(node, found)


def _check_vocabulary(node: dict[str, Any], found: _Findings) -> None:
    config = node.get("config")
    for key in ("vocabulary", "input_vocabulary"):
        given = config.get(key) if isinstance(config, dict) else None
        if isinstance(given, str):
            found.add(
                f"uses {node['module']}.{node['class_name']} with the vocabulary in "
                f"{given[:120]!r}, outside the file; give it the words, vocabulary=[…], or adapt "
                "it, and save again"
            )


def _check_value(name: str, config: Any, found: _Findings) -> None:
    if name not in _ARRAYS:
        return
    dtype = config.get("dtype") if isinstance(config, dict) else None
    if dtype not in _DTYPES:
        found.add(
            f"holds a {name} of dtype {str(dtype)[:40]!r}, which is not on the list of dtypes"
        )
    elif not _is_numeric(config.get("value")):
        found.add(f"holds a {name} of something other than numbers, which is not on the list")


def _is_numeric(value: Any) -> bool:
    # Not recursive: its depth has not been checked yet.
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif not isinstance(part, bool | int | float):
            return False
    return True


def _check_function(node: dict[str, Any], found: _Findings) -> None:
    module, name = node.get("module"), node.get("config")
    full_name = f"{module}.{name}"
    if isinstance(name, str) and _is_keras(module):
        if full_name in DENIED:
            found.add(f"uses {full_name}(), which is refused: {DENIED[full_name]}", denied=True)
            return
        if f"{full_name}()" in keras_objects() and node.get("registered_name") in (None, name):
            return
    elif module == "builtins" and name in found.known_functions:
        return
    elif isinstance(name, str) and ">" in name:
        found.own_code.append(f"{name}=MODULE:{name.rpartition('>')[2]}")
        return
    found.add(
        f"uses {module}.function {str(name)[:120]!r}, which is not on the list; use a function of "
        "keras.activations, or register your own (keras.saving.register_keras_serializable)"
    )


def _add_foreign(found: _Findings, node: dict[str, Any], *, in_compile: bool) -> None:
    module, name = node.get("module"), node["class_name"]
    root = (module or "").partition(".")[0]
    if module is None and name in DENIED_VALUES:
        found.add(_refused_value(name), denied=True)
    elif root in sys.stdlib_module_names or (module is None and _registered_alone(node) is None):
        found.add(f"uses {module}.{name}"[:240] + ", which is not on the list of Keras's objects")
    elif not in_compile:
        found.own_code.append(AllowedObjects.line_for(node))


def _refused_value(name: str) -> str:
    return f"uses {name}, which is refused: {DENIED_VALUES[name]}"


def _is_bare_lambda(node: object) -> bool:
    """Whether it is a lambda as Keras saves one that is an activation: its code without a class."""
    match node:
        case {"value": [str(), None | list(), None | list()], **others}:
            return not others
    return False


def _registered_alone(node: dict[str, Any]) -> str | None:
    """The registered name of a class from a notebook, whose module Keras does not write."""
    registered = node.get("registered_name")
    return registered if isinstance(registered, str) else None


def _is_of_compile(module: str | None, name: str) -> bool:
    if module == "builtins":
        # A loss or metric that is a function; it is never called.
        return name == "function"
    return module in _COMPILE_MODULES and _CLASS_NAME.fullmatch(name) is not None


def _refusal_text(found: _Findings) -> str:
    facts = found.facts[:_MAX_FINDINGS]
    if len(found.facts) > _MAX_FINDINGS:
        facts.append(f"and {len(found.facts) - _MAX_FINDINGS} more of the kind")
    if found.own_code:
        lines = sorted(set(found.own_code))
        code = ", ".join(line.rpartition("=")[0] or line for line in lines[:_MAX_FINDINGS])
        facts.append(
            f"uses code that is not Keras's ({code}): if you trust it, install its module here "
            "and with the workers, and set FORNADA_ALLOWED_OBJECTS='"
            + ",".join(lines)
            + "'"
            + (" with your module for MODULE" if any("MODULE:" in line for line in lines) else "")
        )
    if found.facts:
        facts.append("then publish it again")
    return "; ".join(facts)
