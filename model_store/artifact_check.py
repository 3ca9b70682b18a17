"""Refuse a `.keras` file that holds anything but weights and built-in Keras layers.

Keras's `safe_mode` is not a sandbox: a configuration may name any importable function, the weights
may link to files of the host, and a few bytes may unpack to terabytes. So the file is read here
first, without Keras, against lists of what is allowed; what is not listed is refused.

What this cannot tell: how much memory the layers take when they are built. A configuration with
absurd sizes ends the process that builds it, as any model that is too large for the machine does.
"""

import importlib
import io
import json
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from fornada.errors import MissingExtraError, ModelRefusedError

MAX_ARTIFACT_BYTES = 2 * 1024**3
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_CONFIG_BYTES = 10 * 1024**2
MAX_CONFIG_DEPTH = 64
#: Keras stores members uncompressed. Larger ones that unpack to more times their size are bombs.
MAX_EXPANSION = 20
_EXPANSION_FLOOR_BYTES = 16 * 1024**2
_MAX_WEIGHT_OBJECTS = 100_000
_MAX_WEIGHT_DEPTH = 64

_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_MEMBERS = {"metadata.json", _CONFIG, _WEIGHTS}
#: What zipfile raises on damaged, encrypted or truncated files.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
#: deflate, shuffle, fletcher32: built into HDF5. Others would be loaded from shared libraries.
_HDF5_FILTERS = {1, 2, 3}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Not listed on purpose: Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer (run foreign
# code) and StringLookup, IntegerLookup, TextVectorization (read files that the config names).
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
#: What arithmetic on the tensors of a Functional model becomes, such as `inputs / 255`.
_OPERATIONS = _names(
    """
    Absolute Add Clip Concatenate Divide Exp Expm1 ExpandDims GetItem Log Log1p Max Maximum Mean
    Min Minimum Multiply Negative Power Reshape Sqrt Square Squeeze Subtract Sum Transpose
    TrueDivide
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
#: Found in `compile_config` alone, which `compile=False` leaves alone. Classes, by their capital.
_COMPILE_MODULES = frozenset(
    {"keras.losses", "keras.metrics", "keras.optimizers", "keras.optimizers.schedules"}
)
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


def check_artifact(data: bytes, *, where: str) -> None:
    """Check the bytes of a `.keras` file before Keras sees them.

    Args:
        data: The whole file.
        where: What it was read from, for the error message.

    Raises:
        ModelRefusedError: It holds something that is not allowed; says what.
        MissingExtraError: h5py, which comes with Keras, is not installed.
    """
    if len(data) > MAX_ARTIFACT_BYTES:
        raise _refused(where, f"has {len(data)} bytes, more than {MAX_ARTIFACT_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive, where)
            config = archive.read(_CONFIG)
            weights = archive.read(_WEIGHTS)
    except ModelRefusedError:
        raise
    except _UNREADABLE as exc:
        raise _refused(where, f"is not a readable .keras (zip) file: {_line(exc)}") from exc
    _check_config(config, where)
    _check_weights(weights, where)


def _refused(where: str, fact: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"{where} {fact}; save the model with model.save('model.keras') from built-in Keras layers "
        "and publish it again"
    )


def _line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:200]


def _check_members(archive: zipfile.ZipFile, where: str) -> None:
    members = archive.infolist()
    names = [info.filename for info in members]
    for name in names:
        if name not in _MEMBERS:
            raise _refused(where, f"holds {name[:200]!r}, and may hold only {sorted(_MEMBERS)}")
    if len(set(names)) != len(names):
        raise _refused(where, f"holds a member twice: {sorted(names)}")
    for name in (_CONFIG, _WEIGHTS):
        if name not in names:
            raise _refused(where, f"has no {name}")
    for info in members:
        _check_member(info, where)
    unpacked_bytes = sum(info.file_size for info in members)
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise _refused(where, f"unpacks to {unpacked_bytes} bytes, over {MAX_UNPACKED_BYTES}")


def _check_member(info: zipfile.ZipInfo, where: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise _refused(where, f"holds {info.filename} as something other than a plain file")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _refused(where, f"packs {info.filename} with method {info.compress_type}")
    if info.filename != _WEIGHTS and info.file_size > MAX_CONFIG_BYTES:
        raise _refused(
            where, f"has a {info.filename} of {info.file_size} bytes, over {MAX_CONFIG_BYTES}"
        )
    limit_bytes = max(_EXPANSION_FLOOR_BYTES, MAX_EXPANSION * info.compress_size)
    if info.file_size > limit_bytes:
        raise _refused(
            where,
            f"unpacks {info.filename} from {info.compress_size} to {info.file_size} bytes, over "
            f"{MAX_EXPANSION} times",
        )


def _check_config(data: bytes, where: str) -> None:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _refused(where, f"has a {_CONFIG} that is not JSON: {_line(exc)}") from exc
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS:
        raise _refused(where, f"has a {_CONFIG} that is no Sequential or Functional model")
    for node, in_compile, depth in _walk(config):
        if depth > MAX_CONFIG_DEPTH:
            raise _refused(where, f"has a {_CONFIG} nested over {MAX_CONFIG_DEPTH} deep")
        if isinstance(node, dict) and "class_name" in node:
            _check_object(node, where, in_compile=in_compile)


def _walk(config: dict[str, Any]) -> Iterator[tuple[object, bool, int]]:
    """Every value in `config`, whether it is part of a `compile_config`, and how deep it is."""
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
        raise _refused(where, f"names a class by something other than text: {str(name)[:80]}")
    if registered not in (None, name):
        raise _refused(where, f"uses the custom object {str(registered)[:120]!r}")
    if name in _ALLOWED.get(module, frozenset()):
        return
    if in_compile and _is_compile_object(module, name):
        return
    raise _refused(where, f"uses {module}.{name}"[:240] + ", which is not on the list of layers")


def _is_compile_object(module: str | None, name: str) -> bool:
    if module == "builtins":
        # A loss or metric given as Keras's own function; Fornada never makes it one again.
        return name == "function"
    return module in _COMPILE_MODULES and _CLASS_NAME.fullmatch(name) is not None


def _check_weights(data: bytes, where: str) -> None:
    try:
        # Comes with Keras; models are listed without either.
        h5py: Any = importlib.import_module("h5py")
    except ImportError as exc:
        raise MissingExtraError(
            "loading a model needs h5py; run: pip install 'fornada[worker]'"
        ) from exc
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            declared_bytes = _check_group(h5py, file, where)
    except ModelRefusedError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as exc:
        raise _refused(where, f"has {_WEIGHTS} that HDF5 cannot read: {_line(exc)}") from exc
    limit_bytes = max(_EXPANSION_FLOOR_BYTES, MAX_EXPANSION * len(data))
    if declared_bytes > limit_bytes:
        raise _refused(
            where,
            f"declares {declared_bytes} bytes of weights in {len(data)} bytes of {_WEIGHTS}, over "
            f"{MAX_EXPANSION} times",
        )


def _check_group(h5py: Any, file: Any, where: str) -> int:
    """Check every object below `file`; return the bytes that all datasets declare."""
    declared_bytes = 0
    seen = {h5py.h5o.get_info(file.id).addr}
    pending = [(file, 0)]
    while pending:
        group, depth = pending.pop()
        for name in group:
            where_in = f"{group.name.rstrip('/')}/{name}"[:200]
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _refused(where, f"has a link to elsewhere in its weights: {where_in}")
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen or len(seen) > _MAX_WEIGHT_OBJECTS or depth > _MAX_WEIGHT_DEPTH:
                raise _refused(where, f"has weights that repeat or do not end, at {where_in}")
            seen.add(address)
            if isinstance(child, h5py.Group):
                pending.append((child, depth + 1))
            elif isinstance(child, h5py.Dataset):
                declared_bytes += _check_dataset(child, where, where_in)
            else:
                raise _refused(where, f"has neither group nor dataset in its weights: {where_in}")
    return declared_bytes


def _check_dataset(dataset: Any, where: str, where_in: str) -> int:
    if dataset.external or dataset.is_virtual:
        raise _refused(where, f"keeps weights in another file: {where_in}")
    # Kind V without columns is how HDF5 holds bfloat16.
    if dataset.dtype.kind not in "fiubV" or dataset.dtype.names or dataset.dtype.hasobject:
        raise _refused(where, f"has weights of dtype {dataset.dtype}: {where_in}")
    creation = dataset.id.get_create_plist()
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if not filters <= _HDF5_FILTERS:
        raise _refused(where, f"packs weights with a foreign filter: {where_in}")
    return math.prod(dataset.shape or ()) * int(dataset.dtype.itemsize)
