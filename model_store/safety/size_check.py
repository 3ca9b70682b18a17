"""The sizes that a configuration asks for: no more than its file's weights and an item can hold."""

import json
import math
from typing import Any

from fornada.errors import ModelRefusedError
from model_store.safety.config_check import refusal, walk

#: Settings of a layer whose product is at most the size of its largest weight.
_SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dense", "GRU", "GRUCell", "LSTM", "LSTMCell"), ("units",)),
    **dict.fromkeys(("SimpleRNN", "SimpleRNNCell"), ("units",)),
    **dict.fromkeys(
        (f"Conv{n}D{kind}" for n in "123" for kind in ("", "Transpose")), ("filters", "kernel_size")
    ),
    **dict.fromkeys((f"ConvLSTM{n}D" for n in "123"), ("filters", "kernel_size")),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("filters",)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), ("depth_multiplier", "kernel_size")),
    "Embedding": ("input_dim", "output_dim"),
    "MultiHeadAttention": ("num_heads", "key_dim"),
    "GroupQueryAttention": ("num_query_heads", "head_dim"),
}
#: EfficientNetV2L calls 1,100 layers, each once.
_MAX_CALLS = 10_000
#: What layers are made with, which no call runs on its own.
_NOT_CALLED_MODULES = {"keras.initializers", "keras.regularizers", "keras.constraints"}
_NOT_CALLED = {"DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "QuantizedDTypePolicy"}
#: Settings that size a layer's outputs, without weights: numbers an item, 1 GiB in float32.
_MAX_ITEM_NUMBERS = 2**28
_OUTPUT_SIZES: dict[str, tuple[str, ...]] = {
    "CategoryEncoding": ("num_tokens",),
    "Discretization": ("num_bins",),
    "HashedCrossing": ("num_bins",),
    "Hashing": ("num_bins",),
    "InputLayer": ("batch_shape",),
    "RepeatVector": ("n",),
    "Reshape": ("target_shape",),
    "Resizing": ("height", "width"),
    "UpSampling1D": ("size",),
    "UpSampling2D": ("size",),
    "UpSampling3D": ("size",),
    "ZeroPadding1D": ("padding",),
}


def check_sizes(data: bytes, *, where: str, element_count: int) -> None:
    """Check that no layer of a checked configuration needs more than its file can hold.

    Raises:
        ModelRefusedError: One needs a weight larger than all in the file, or makes an item too
            large for memory.
    """
    config = json.loads(data)
    call_count = _call_count(config, {})
    if call_count > _MAX_CALLS:
        raise refusal(where, f"calls layers {call_count} times for an item, over {_MAX_CALLS}")
    for node, _, _ in walk(config):
        if not isinstance(node, dict) or not isinstance(node.get("config"), dict):
            continue
        name = str(node.get("class_name"))
        sizes = _sizes(node, _SIZES.get(name, ()))
        if sizes and not element_count:
            raise ModelRefusedError(
                f"{where} has a {name} and no weights: the model was never built; call "
                "model.build((None, …)) or fit it, and save it again"
            )
        if _product(sizes) > max(1, element_count):
            raise refusal(
                where, f"has a {name} of {sizes}, and only {element_count} weights in all"
            )
        sizes = _sizes(node, _OUTPUT_SIZES.get(name, ()))
        if _product(sizes) > _MAX_ITEM_NUMBERS:
            raise refusal(
                where, f"has a {name} of {sizes}, over {_MAX_ITEM_NUMBERS} numbers an item"
            )


def _call_count(node: Any, shared: dict[int | str, int]) -> int:
    """How often layers are called: a nested model's as often as the model that holds it says.

    Args:
        node: A part of the configuration.
        shared: The calls of objects that were seen, by the number under which Keras takes them
            again, whatever else is said there.
    """
    if isinstance(node, list):
        return sum(_call_count(part, shared) for part in node)
    if not isinstance(node, dict):
        return 0
    nodes = node.get("inbound_nodes")
    times = len(nodes) if isinstance(nodes, list) and nodes else 1
    own = _is_called(node) + sum(
        _call_count(value, shared) for key, value in node.items() if key != "compile_config"
    )
    number = node.get("shared_object_id")
    if isinstance(number, int | str):
        own = shared[number] = max(own, shared.get(number, 0))
    return times * own


def _is_called(node: dict[str, Any]) -> bool:
    module, name = node.get("module"), node.get("class_name")
    if module is None:
        # Tensors, constants and slices; or a layer of a notebook.
        return isinstance(node.get("registered_name"), str)
    return (
        name is not None
        and name != "function"
        and name not in _NOT_CALLED
        and module not in _NOT_CALLED_MODULES
    )


def _sizes(node: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: node["config"][name] for name in names if name in node["config"]}


def _product(sizes: dict[str, Any]) -> int:
    total = 1
    for value in sizes.values():
        numbers = value if isinstance(value, list) else [value]
        total *= math.prod(abs(n) for n in numbers if isinstance(n, int) and n)
    return total
