"""What of Keras a model may never name, each with the reason; `keras_objects.txt` has the rest."""

_CODE = "it carries or loads code; write a layer class of your own"
_FUNCTION = "it calls functions that the file names; use a layer, or operations on whole tensors"
_BASE = "it is a base class that computes nothing; use a layer"
_MODEL = "it is not a layer; save a Sequential or Functional model"

DENIED: dict[str, str] = {
    "keras.layers.Lambda": "it carries code; write a layer class of your own, or use keras.ops",
    "keras.layers.TFSMLayer": _CODE,
    "keras.layers.TorchModuleWrapper": _CODE,
    "keras.layers.JaxLayer": _CODE,
    "keras.layers.FlaxLayer": _CODE,
    "keras.Layer": _BASE,
    "keras.layers.Layer": _BASE,
    "keras.Operation": _BASE,
    "keras.src.ops.operation.Operation": _BASE,
    "keras.Model": _MODEL,
    "keras.Function": _MODEL,
    "keras.src.ops.function.Function": _MODEL,
    **{
        f"keras.src.ops.core.{name}": _FUNCTION
        for name in (
            "AssociativeScan",
            "Cond",
            "CustomGradient",
            "ForiLoop",
            "Map",
            "Scan",
            "Switch",
            "VectorizedMap",
            "WhileLoop",
        )
    },
    **{
        f"keras.ops.{name}": _FUNCTION
        for name in (
            "associative_scan",
            "cond",
            "custom_gradient",
            "fori_loop",
            "jvp",
            "map",
            "scan",
            "switch",
            "vectorize",
            "vectorized_map",
            "while_loop",
        )
    },
}
#: Values that Keras writes under these names, without a module.
DENIED_VALUES: dict[str, str] = {
    "__lambda__": "it carries code; write a function of your own and register it",
    "__typespec__": "it names a class of TensorFlow; leave it out",
}
