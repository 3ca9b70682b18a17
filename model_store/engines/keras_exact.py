"""A model in float64, rounded to float32 once at its end: another batch gives the same bytes."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from fornada.errors import ModelRefusedError

#: As TensorFlow's graphs number the types: float32, float16, bfloat16; and float64.
_LESS, _FLOAT64 = {1, 14, 19}, 2
#: What may handle float32 in a graph that computes in float64: inputs and constants that are about
#: to become float64, and what was rounded at the end.
_NO_ARITHMETIC = {"Cast", "Const", "Identity", "NoOp", "Placeholder"}


def in_float64(data: bytes) -> bytes:
    """A `.keras` file whose layers all compute in float64; the weights are the same numbers.

    Args:
        data: The whole file, which was checked.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for name in given.namelist():
            content = given.read(name)
            if name == "config.json":
                content = json.dumps(_in_float64(json.loads(content))).encode()
            written.writestr(name, content)
    return buffer.getvalue()


def check_float64(compiled: Any, *, takes: str) -> None:
    """Check that a function computes in float64 all through, and rounds once.

    Args:
        compiled: A concrete function of TensorFlow.
        takes: What it takes, for the error message.

    Raises:
        ModelRefusedError: A layer computes in less, whatever it is told.
    """
    roundings = 0
    for node in _nodes(compiled.graph.as_graph_def()):
        types = {name: value.type for name, value in node.attr.items()}
        if node.op == "Cast":
            roundings += types["SrcT"] == _FLOAT64 and types["DstT"] in _LESS
        computes_in_less = node.op not in _NO_ARITHMETIC and not _LESS.isdisjoint(types.values())
        if computes_in_less or roundings > 1:
            raise ModelRefusedError(
                f"the model for {takes} cannot be exact: {node.name} computes in less than "
                "float64; predict it without --exact (FORNADA_ENGINE=keras)"
            )


def _nodes(graph: Any) -> Iterator[Any]:
    """Those of a graph and of the functions in it, such as the body of a loop."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _in_float64(config: Any) -> Any:
    if isinstance(config, list):
        return [_in_float64(part) for part in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": "float64"}}
    changed = {name: _in_float64(part) for name, part in config.items()}
    if config.get("class_name") == "InputLayer" and config["config"].get("dtype") == "float32":
        # Some layers compute in what they are given.
        changed["config"]["dtype"] = "float64"
    return changed
