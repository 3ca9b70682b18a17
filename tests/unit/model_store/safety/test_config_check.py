"""What a configuration may name, and what a refusal says."""

import json
import re
from typing import Any

import pytest

from fornada.errors import ModelRefusedError
from model_store.safety.config_check import check_config
from model_store.safety.size_check import check_sizes

_TWICE = {
    "module": "shop.layers",
    "class_name": "Twice",
    "config": {"name": "twice"},
    "registered_name": "shop>Twice",
}
_THRICE_OF_A_NOTEBOOK = {
    "module": None,
    "class_name": "Thrice",
    "config": {},
    "registered_name": "Custom>Thrice",
}
_SWISH = {
    "module": "builtins",
    "class_name": "function",
    "config": "Custom>swish2",
    "registered_name": "function",
}
_LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {}}


def _model(*layers: Any, **more: Any) -> bytes:
    layers_config = {"layers": list(layers)}
    model = {"module": "keras", "class_name": "Sequential", "config": layers_config, **more}
    return json.dumps(model).encode()


def _dense(activation: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": "Dense", "config": {"activation": activation}}


def _used(*layers: Any, allowed: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment] # empty
    return check_config(_model(*layers), where="m.keras", allowed_objects=allowed)


def _refusal(*layers: Any, **more: Any) -> str:
    with pytest.raises(ModelRefusedError) as refusal:
        check_config(_model(*layers, **more), where="m.keras")
    return str(refusal.value)


def test_a_refusal_lists_all_that_it_found_with_what_to_do() -> None:
    lookup = {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "https://example.org/words"},
    }

    message = _refusal(_TWICE, _THRICE_OF_A_NOTEBOOK, _LAMBDA, lookup, _dense(_SWISH))

    assert "uses keras.layers.Lambda, which is refused: it carries code" in message
    assert "vocabulary in 'https://example.org/words', outside the file" in message
    assert (
        "FORNADA_ALLOWED_OBJECTS='Custom>Thrice=MODULE:Thrice,Custom>swish2=MODULE:swish2,"
        "shop>Twice=shop.layers:Twice' with your module for MODULE"
    ) in message
    assert "from built-in" not in message


def test_a_long_refusal_is_cut() -> None:
    layers = [
        {"module": "keras.layers", "class_name": f"No{number}", "config": {}}
        for number in range(30)
    ]

    assert "and 10 more of the kind" in _refusal(*layers)


def test_objects_are_allowed_by_registered_name() -> None:
    allowed = {
        "shop>Twice=other.place:Twice",
        "Custom>Thrice=shop.layers:Thrice",
        "Custom>swish2=shop.functions:swish2",
        "Custom>never=shop.layers:never",
    }

    used = _used(_TWICE, _THRICE_OF_A_NOTEBOOK, _dense(_SWISH), allowed=allowed)

    assert {
        "shop>Twice": "other.place:Twice",
        "Custom>Thrice": "shop.layers:Thrice",
        "Custom>swish2": "shop.functions:swish2",
    } == used
    assert {"shop>Twice": "shop.layers:Twice"} == _used(_TWICE, allowed={"shop.layers:Twice"})
    # Keras also looks up a registered name that is given as text.
    assert {"Custom>swish2": "f:swish2"} == _used(
        _dense("Custom>swish2"), allowed={"Custom>swish2=f:swish2"}
    )


def test_a_model_of_ones_own_class_is_allowed_by_name() -> None:
    model = {**_THRICE_OF_A_NOTEBOOK, "config": {"units": 3}}

    with pytest.raises(ModelRefusedError, match="'Custom>Thrice=MODULE:Thrice'"):
        check_config(json.dumps(model).encode(), where="m.keras")

    assert {"Custom>Thrice": "shop.layers:Thrice"} == check_config(
        json.dumps(model).encode(),
        where="m.keras",
        allowed_objects={"Custom>Thrice=shop.layers:Thrice"},
    )


def test_constants_are_numbers_of_a_listed_dtype() -> None:
    def constant(value: Any, dtype: Any) -> dict[str, Any]:
        return {"class_name": "__tensor__", "config": {"value": value, "dtype": dtype}}

    parts = {"start": None, "stop": 2, "step": None}
    _used(
        constant([[1.5, 2], [3, 4]], "float32"),
        constant(True, "bool"),  # noqa: FBT003 - a value
        {"class_name": "__slice__", "config": parts},
        {"class_name": "__ellipsis__", "config": {}},
    )

    for wrong in (
        constant([1], "S1000000000"),
        constant([1], "object"),
        constant([1], None),
        constant(["a"], "int32"),
        {"class_name": "__numpy__", "config": 1},
        {"class_name": "__typespec__", "spec_name": "x", "config": []},
    ):
        assert re.search("not on the list|refused", _refusal(wrong))


def test_functions_of_keras_are_given_by_public_name() -> None:
    def function(module: str, name: str) -> dict[str, Any]:
        return {**_SWISH, "module": module, "config": name, "registered_name": name}

    _used(_dense(function("keras.activations", "gelu")), _dense(function("keras.ops", "sin")))

    assert "refused: it calls functions" in _refusal(_dense(function("keras.ops", "map")))
    for module, name in (
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.utils", "get_file"),
        ("keras.activations", "get"),
        ("builtins", "eval"),
        ("builtins", "softmax_v2"),
        ("os", "system"),
    ):
        assert "not on the list" in _refusal(_dense(function(module, name)))


def test_a_lambda_is_refused_as_an_activation_too() -> None:
    # given the form in which Keras saves it there
    assert "__lambda__, which is refused" in _refusal(_dense({"value": ["4wEA", None, None]}))


def test_losses_of_ones_own_do_not_matter() -> None:
    own = {
        "module": "shop.losses",
        "class_name": "Focal",
        "config": {},
        "registered_name": "s>Focal",
    }
    check_config(_model(compile_config={"loss": own}), where="m.keras")

    for evil in (
        {**own, "module": "os", "registered_name": None},
        {**own, "module": "keras.utils", "class_name": "get_file", "registered_name": None},
        _LAMBDA,
        {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}},
    ):
        _refusal(compile_config={"loss": evil})


@pytest.mark.parametrize(("depth", "is_refused"), [(3, False), (4, True), (9, True)])
def test_nested_models_that_multiply_their_calls_are_refused(
    depth: int,
    *,
    is_refused: bool,
) -> None:
    # given ten layers in models that are each called eight times
    layers: list[Any] = [_dense("relu") for _ in range(10)]
    for _ in range(depth):
        model = {
            "module": "keras.src.models.functional",
            "class_name": "Functional",
            "config": {"layers": layers},
            "inbound_nodes": [{"args": []}] * 8,
        }
        layers = [model]
    data = json.dumps(layers[0]).encode()

    if not is_refused:
        check_sizes(data, where="m.keras", element_count=100)
        return
    with pytest.raises(ModelRefusedError, match=r"calls layers \d+ times for an item, over 10000"):
        check_sizes(data, where="m.keras", element_count=100)


def test_objects_in_the_old_format_are_refused_even_under_an_allowed_name() -> None:
    # given what Keras looks up as Lambda, by its class alone
    evil = {"class_name": "Lambda", "config": {}, "registered_name": "Custom>Thrice"}

    with pytest.raises(ModelRefusedError, match="uses Lambda without a module"):
        _used(evil, allowed={"Custom>Thrice=shop.layers:Thrice"})


def test_a_constant_nested_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]

    message = _refusal({"class_name": "__tensor__", "config": {"value": deep, "dtype": "int32"}})

    assert "64 deep" in message


@pytest.mark.parametrize(("depth", "is_refused"), [(4, False), (5, True)])
def test_a_model_that_is_named_again_by_its_number_counts_again(
    depth: int, *, is_refused: bool
) -> None:
    # given models that hold one model, and seven times its number alone
    model: dict[str, Any] = _dense("relu")
    for number in range(depth):
        model["shared_object_id"] = number
        again = {"class_name": "Functional", "config": {}, "shared_object_id": number}
        model = {
            "module": "keras.src.models.functional",
            "class_name": "Functional",
            "config": {"layers": [model, *[again] * 7]},
        }
    data = json.dumps(model).encode()

    if not is_refused:
        check_sizes(data, where="m.keras", element_count=100)
        return
    with pytest.raises(ModelRefusedError, match=r"calls layers \d+ times for an item, over 10000"):
        check_sizes(data, where="m.keras", element_count=100)
