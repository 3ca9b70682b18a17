"""The objects that the configuration of a `.keras` file may name: built-in Keras layers only.

The file is checked against these lists before Keras sees it; anything not listed is refused.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from fornada.errors import ModelRefusedError, error_line

_CONFIG = "config.json"
MAX_CONFIG_DEPTH = 64


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Left out on purpose: Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer and FlaxLayer, which run
# foreign code; StringLookup, IntegerLookup and TextVectorization, which read files that the
# configuration names.
_LAYERS = _names(
    """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
    CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
    Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense
    DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention Identity InputLayer LSTM LSTMCell LayerNormalization
    LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention
    Multiply Normalization PReLU Permute RMSNormalization RNN RandomBrightness RandomContrast
    RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling
    Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells
    Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)
_INITIALIZERS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer
    LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform
    TruncatedNormal VarianceScaling Zeros
    """
)
#: Arithmetic on the tensors of a Functional model, such as `inputs / 255`.
_OPERATIONS = _names(
    """
    Absolute Add Clip Concatenate Divide Equal Exp Expm1 ExpandDims GetItem Greater GreaterEqual
    Less LessEqual Log Log1p Max Maximum Mean Min Minimum Multiply Negative NotEqual Power Reshape
    Sqrt Square Squeeze Subtract Sum Transpose TrueDivide Where
    """
)
_MODELS = frozenset({"Functional", "Sequential"})
_ALLOWED: dict[str | None, frozenset[str]] = {
    None: frozenset({"__keras_tensor__"}),
    "keras": _MODELS | {"DTypePolicy"},
    "keras.models": _MODELS,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": _LAYERS,
    "keras.initializers": _INITIALIZERS,
    "keras.regularizers": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    "keras.dtype_policies": frozenset({"DTypePolicy"}),
    "keras.src.ops.numpy": _OPERATIONS,
}
#: Modules whose classes may appear in a `compile_config`, which `compile=False` ignores.
_COMPILE_MODULES = frozenset(
    {"keras.losses", "keras.metrics", "keras.optimizers", "keras.optimizers.schedules"}
)
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
#: Settings of a layer whose product is at most the size of its largest weight.
_SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dense", "GRU", "GRUCell", "LSTM", "LSTMCell"), ("units",)),
    **dict.fromkeys(("SimpleRNN", "SimpleRNNCell"), ("units",)),
    **dict.fromkeys((f"Conv{n}D{kind}" for n in "123" for kind in ("", "Transpose")), ("filters",)),
    **dict.fromkeys((f"ConvLSTM{n}D" for n in "123"), ("filters",)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("filters",)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), ("depth_multiplier",)),
    "Embedding": ("input_dim", "output_dim"),
    "MultiHeadAttention": ("num_heads", "key_dim"),
    "GroupQueryAttention": ("num_query_heads", "head_dim"),
}


def check_config(data: bytes, *, where: str, allowed_layers: Collection[str]) -> dict[str, str]:
    """Check every object that a configuration names.

    Args:
        data: `config.json`.
        where: What it was read from, for messages.
        allowed_layers: Custom layers that the operator trusts, as `package.module:ClassName`.

    Returns:
        Those of them that it uses, by the names under which Keras looks them up.

    Raises:
        ModelRefusedError: It is not a configuration, or names something that is not allowed.
    """
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise refusal(where, f"has a {_CONFIG} that is not JSON: {error_line(exc)}") from exc
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS:
        raise refusal(where, f"has a {_CONFIG} that is not a Sequential or Functional model")
    layers: dict[str, str] = {}
    for node, in_compile, depth in _walk(config):
        if depth > MAX_CONFIG_DEPTH:
            raise refusal(where, f"has a {_CONFIG} nested over {MAX_CONFIG_DEPTH} deep")
        if isinstance(node, dict) and "class_name" in node:
            layer = f"{node.get('module')}:{node['class_name']}"
            if layer in allowed_layers:
                _add_layer(layers, node, layer, where)
            else:
                _check_object(node, where, in_compile=in_compile)
    return layers


def check_sizes(data: bytes, *, where: str, element_count: int) -> None:
    """Check that no layer of a checked configuration needs a weight larger than the file holds.

    Raises:
        ModelRefusedError: One does; building it would take memory that no weights could fill.
    """
    for node, _, _ in _walk(json.loads(data)):
        if not isinstance(node, dict) or not isinstance(node.get("config"), dict):
            continue
        named = _SIZES.get(str(node.get("class_name")), ())
        sizes = {name: node["config"].get(name) for name in named}
        wanted = math.prod(size for size in sizes.values() if isinstance(size, int))
        if sizes and wanted > max(1, element_count):
            raise refusal(
                where,
                f"has a {node['class_name']} of {sizes}, and only {element_count} weights in all",
            )


def refusal(where: str, fact: str) -> ModelRefusedError:
    """The error for a file, from what is wrong with it."""
    return ModelRefusedError(
        f"{where} {fact}; save the model with model.save('model.keras') from built-in Keras layers "
        "and publish it again"
    )


def _add_layer(layers: dict[str, str], node: dict[str, Any], layer: str, where: str) -> None:
    name, registered = node["class_name"], node.get("registered_name")
    # Keras looks up the registered name, which must lead to the allowed class.
    if not isinstance(registered, str) or registered.rsplit(">", 1)[-1] != name:
        raise refusal(where, f"registers {layer} as {str(registered)[:120]!r}")
    if layers.setdefault(registered, layer) != layer:
        raise refusal(where, f"registers two classes as {registered[:120]!r}")


def _walk(config: dict[str, Any]) -> Iterator[tuple[object, bool, int]]:
    """Every value in `config`, whether it is in a `compile_config`, and its depth."""
    pending: list[tuple[object, bool, int]] = [(config, False, 0)]
    while pending:
        node, in_compile, depth = pending.pop()
        yield node, in_compile, depth
        if isinstance(node, dict):
            for key, value in node.items():
                pending.append((value, in_compile or key == "compile_config", depth + 1))
        elif isinstance(node, list):
            pending.extend((value, in_compile, depth + 1) for value in node)


def _check_object(node: dict[str, Any], where: str, *, in_compile: bool) -> None:
    module, name = node.get("module"), node["class_name"]
    registered = node.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise refusal(where, f"names a class by something other than text: {str(name)[:80]}")
    if registered not in (None, name):
        raise refusal(where, f"uses the custom object {str(registered)[:120]!r}")
    if name in _ALLOWED.get(module, frozenset()):
        return
    if in_compile and _is_compile_object(module, name):
        return
    raise refusal(where, f"uses {module}.{name}"[:240] + ", which is not on the list of layers")


def _is_compile_object(module: str | None, name: str) -> bool:
    if module == "builtins":
        # A loss or metric that is a function of Keras; it is never called.
        return name == "function"
    return module in _COMPILE_MODULES and _CLASS_NAME.fullmatch(name) is not None
