"""Gates: read strictly, and every one must hold."""

import math

import pytest

from fornada.errors import GateNotMetError, UsageError
from model_store.gates import Gate, check_gates, more_is_better

_GATES = {
    "val_accuracy>=0.85": Gate(metric="val_accuracy", operator=">=", limit=0.85),
    " loss < 1e-3 ": Gate(metric="loss", operator="<", limit=0.001),
    "loss<=.5": Gate(metric="loss", operator="<=", limit=0.5),
    "gain>-2.": Gate(metric="gain", operator=">", limit=-2.0),
}
_NOT_GATES = (
    "",
    "accuracy",
    "accuracy>=",
    ">=0.5",
    "accuracy=0.5",
    "accuracy==0.5",
    "accuracy=>0.5",
    "accuracy>=nan",
    "accuracy>=inf",
    "accuracy>=1e999",
    "accuracy>=0,85",
    "accuracy>=85%",
    "accuracy>=0x10",
    "accuracy>=\N{ARABIC-INDIC DIGIT ONE}",
    "0.5<=accuracy",
    "accuracy>=0.5;loss<1",
    "test accuracy>=0.5",
)
_HOLDS = {
    ("m>=0.5", 0.5): True,
    ("m>0.5", 0.5): False,
    ("m<=0.5", 0.5): True,
    ("m<0.5", 0.5): False,
    ("m>0.5", 0.6): True,
    ("m<0.5", 0.6): False,
    ("m>=0", math.nan): False,
    ("m<=0", math.nan): False,
}


def test_a_gate_is_metric_operator_number() -> None:
    for text, expected in _GATES.items():
        assert expected == Gate.parse(text)
        assert expected == Gate.parse(str(expected))


def test_anything_else_is_refused_with_an_example() -> None:
    for text in _NOT_GATES:
        with pytest.raises(UsageError, match="is not METRIC OP NUMBER") as refusal:
            Gate.parse(text)
        assert "'val_accuracy>=0.85'" in str(refusal.value)


def test_a_gate_holds_or_not() -> None:
    found = {(gate, value): Gate.parse(gate).holds(value) for gate, value in _HOLDS}

    assert _HOLDS == found


def test_gates_that_hold_let_a_model_pass() -> None:
    check_gates([Gate.parse("a>=1"), Gate.parse("b<1")], {"a": 1.0, "b": 0.0}, model="m:1")
    check_gates([], {}, model="m:1")


def test_the_error_lists_every_gate_that_does_not_hold() -> None:
    gates = [Gate.parse(text) for text in ("a>=0.9", "b<1", "c>0")]

    with pytest.raises(GateNotMetError) as refusal:
        check_gates(gates, {"a": 0.85, "b": 2.0, "c": 1.0}, model="m:1")

    assert (
        "m:1 is not promoted: a is 0.85 and the gate is a>=0.9; b is 2 and the gate is b<1; train "
        "a better model, or lower the gate"
    ) == str(refusal.value)
    assert 1 == refusal.value.exit_code


def test_a_gate_on_a_missing_metric_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no metric 'accuracy' to gate on; it has: a, b"):
        check_gates([Gate.parse("accuracy>0")], {"b": 1.0, "a": 1.0}, model="m:1")


def test_the_name_of_a_metric_tells_which_way_is_better() -> None:
    names = ("accuracy", "sparse_top_k_categorical_accuracy", "AUC", "r2_score")
    assert all(more_is_better(f"test_{name}") for name in names)
    assert not any(more_is_better(f"test_{name}") for name in ("loss", "mean_absolute_error"))
    assert not more_is_better("test_rmse")
