"""Configurations of models that compute in another dtype."""

from typing import Any

from model_store.engines.artifact.dtypes import computing_in


def _policy(name: str) -> dict[str, Any]:
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}}


def _layer(kind: str, dtype: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"dtype": dtype}}


_LAYERS = [
    _layer("InputLayer", "float32"),
    _layer("Normalization", _policy("float32")),
    _layer("Dense", _policy("float32")),
    _layer("Dense", _policy("mixed_float16")),
]


def test_bfloat16_takes_the_place_of_float32_but_for_raw_numbers() -> None:
    changed = computing_in({"layers": _LAYERS}, "bfloat16")

    expected = [*_LAYERS[:2], _layer("Dense", _policy("mixed_bfloat16")), _LAYERS[3]]
    assert {"layers": expected} == changed


def test_float64_takes_the_place_of_all() -> None:
    changed = computing_in({"layers": _LAYERS}, "float64")

    kinds = ("Normalization", "Dense", "Dense")
    expected = [_layer("InputLayer", "float64"), *(_layer(k, _policy("float64")) for k in kinds)]
    assert {"layers": expected} == changed
