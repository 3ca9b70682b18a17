"""Every public layer and operation of Keras is allowed or denied: nothing falls between."""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

from fornada.errors import ModelRefusedError
from model_store.engines import keras_setup
from model_store.safety.config_check import check_config, keras_objects
from model_store.safety.denied_objects import DENIED

pytestmark = pytest.mark.filterwarnings("ignore")

#: Arguments that layers and operations require, by their names.
_ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("axis", "axis1", "axis2", "source", "destination"), 0),
    **dict.fromkeys(("data_format",), "channels_last"),
    **dict.fromkeys(("dtype", "to_dtype"), "float32"),
    **dict.fromkeys(("filters", "units", "n", "num_bins", "num_classes", "num_tokens", "size"), 2),
    **dict.fromkeys(("height", "width", "k", "max_number", "num", "repeats", "num_segments"), 2),
    **dict.fromkeys(("num_heads", "key_dim", "head_dim", "num_query_heads", "input_dim"), 2),
    **dict.fromkeys(("num_key_value_heads", "output_dim", "pool_size", "kernel_size"), 2),
    **dict.fromkeys(("block_size", "diagonal", "start_index", "sequence_length"), 2),
    **dict.fromkeys(("sequence_stride", "fft_length", "target_height", "target_width"), 2),
    **dict.fromkeys(("q", "rate", "stddev", "factor", "decay", "alpha", "min_value"), 0.5),
    **dict.fromkeys(("x_min", "min_val", "a_min", "lower"), 0.0),
    **dict.fromkeys(("x_max", "max_val", "a_max", "upper", "max_value"), 1.0),
    **dict.fromkeys(("shape", "newshape", "target_shape", "output_size"), (2, 2)),
    **dict.fromkeys(("activation", "function"), "relu"),
    **dict.fromkeys(
        ("axes", "height_factor", "width_factor", "kth", "order", "scale", "threshold"), 1
    ),
    **dict.fromkeys(("default_value", "indices_or_sections", "threshold"), 1),
    "method": "linear",
    "spatial_dims": (0, 1),
    "dims": (1,),
    "equation": "ab,bc->ac",
    "subscripts": "ij,jk->ik",
    "pattern": "a b -> b a",
    "output_shape": (2,),
    "mask": None,
    "value_range": (0, 1),
    "bin_boundaries": [0.0, 1.0],
    "pad_width": (1, 1),
    "shift": 1,
    "bounding_box_format": "xyxy",
}
#: Arguments of classes that require one of several, or take others by the same name.
_OWN_ARGUMENTS: dict[str, dict[str, Any]] = {
    **{
        f"Adaptive{kind}Pooling{n}D": {"output_size": 2}
        for kind in ("Average", "Max")
        for n in "13"
    },
    "CategoryEncoding": {"num_tokens": 2},
    "Discretization": {"num_bins": 2},
    "InputLayer": {"shape": (2,)},
    "MultiHot": {"num_classes": 2},
    "RandomPosterization": {"factor": 2},
    "Resize": {"size": (2, 2)},
}


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


def _operation_classes(keras: Any) -> Iterator[type]:
    package = importlib.import_module("keras.src.ops")
    for found in pkgutil.walk_packages(package.__path__, "keras.src.ops."):
        if not found.name.endswith("_test"):
            module = importlib.import_module(found.name)
            for _, name in inspect.getmembers(module, inspect.isclass):
                if issubclass(name, keras.Operation) and name.__module__ == found.name:
                    yield name


def _layer_classes(keras: Any) -> dict[str, type]:
    found = inspect.getmembers(keras.layers, inspect.isclass)
    return {name: member for name, member in found if issubclass(member, keras.Layer)}


def _built(keras: Any, found: Any) -> Any:
    """An object of a class, from what its constructor requires."""
    layers, given = keras.layers, dict(_OWN_ARGUMENTS.get(found.__name__, {}))
    own = {
        "layer": lambda: layers.Dense(2),
        "forward_layer": lambda: layers.LSTM(2),
        "cell": lambda: layers.LSTMCell(2),
        "cells": lambda: [layers.LSTMCell(2)],
        "layers": lambda: [layers.Rescaling(2.0)],
    }
    if found.__name__ == "Bidirectional":
        own["layer"] = own["forward_layer"]
    for name, parameter in inspect.signature(found.__init__).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind not in {
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        }:
            if name in given or name == "self":
                continue
            if name in own:
                given[name] = own[name]()
            else:
                given[name] = _ARGUMENTS[name]
    return found(**given)


def _check(keras: Any, built: Any) -> None:
    config = keras.saving.serialize_keras_object(built)
    layers = json.loads(json.dumps({"layers": [config]}, default=str))
    model = {"module": "keras", "class_name": "Sequential", "config": layers}
    check_config(json.dumps(model).encode(), where="it")


def test_every_layer_and_operation_is_allowed_or_denied(keras: Any) -> None:
    public = {f"keras.layers.{name}" for name in _layer_classes(keras)}
    operations = {f"{found.__module__}.{found.__name__}" for found in _operation_classes(keras)}

    assert len(public) > 140
    assert len(operations) > 320
    assert set() == (public | operations) - keras_objects() - set(DENIED)
    assert set() == keras_objects() & set(DENIED)


def test_every_layer_and_operation_that_can_be_built_is_named_as_the_list_has_it(
    keras: Any,
) -> None:
    refused, not_built = set(), set()
    for found in [*_layer_classes(keras).values(), *_operation_classes(keras)]:
        try:
            built = _built(keras, found)
        except Exception:  # noqa: BLE001 - counted below
            not_built.add(found.__name__)
            continue
        try:
            _check(keras, built)
        except ModelRefusedError:
            refused.add(found.__name__)

    denied = {name.rpartition(".")[2] for name in DENIED}
    assert set() == (refused | not_built) - denied


def test_families_of_other_objects_are_allowed(keras: Any) -> None:
    for family in ("constraints", "dtype_policies", "initializers", "quantizers", "regularizers"):
        for name, found in inspect.getmembers(getattr(keras, family), inspect.isclass):
            assert f"keras.{family}.{name}" in keras_objects(), found
    for name, found in inspect.getmembers(keras.activations, inspect.isfunction):
        listed = f"keras.activations.{found.__name__}()" in keras_objects()
        assert listed or name in {"deserialize", "get", "serialize"}


def test_functions_that_call_functions_are_denied(keras: Any) -> None:
    """Whatever of `keras.ops` takes a callable by a usual name of such arguments."""
    callables = {"f", "fun", "fn", "func", "function", "pyfunc", "body", "body_fun", "true_fn"}
    for name, found in inspect.getmembers(keras.ops, inspect.isfunction):
        if callables & set(inspect.signature(found).parameters) or name in {"switch", "vectorize"}:
            assert f"keras.ops.{name}" in DENIED
            assert f"keras.ops.{name}()" not in keras_objects()


def test_no_other_name_leads_to_what_is_denied(keras: Any) -> None:
    registered = importlib.import_module("keras.src.api_export").REGISTERED_NAMES_TO_OBJS

    def resolved(name: str) -> Any:
        module, _, member = name.rpartition(".")
        if name in registered:
            return registered[name]
        return getattr(importlib.import_module(module), member, None)

    denied = {id(found) for found in map(resolved, DENIED) if found is not None}

    assert len(denied) > 20
    assert [] == [
        name for name in keras_objects() if id(resolved(name.removesuffix("()"))) in denied
    ]
    assert keras.layers.Lambda is resolved("keras.layers.Lambda")
