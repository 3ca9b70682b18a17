"""The report on a model of several inputs and outputs."""

from typing import Any

import numpy as np
import pytest

from fornada.tensors import OutputTensor
from model_store.engines.keras_setup import import_keras
from model_store.manifest import ModelDraft
from model_store.publishing.fitted import FittedModel
from model_store.signature import read_signature
from trainer.report.files import model_report
from trainer.report.material import targets_by_output

_COUNT = 40
_GIVES = [
    OutputTensor(name="leaves", shape=[1], kind="binary", classes=["no", "yes"], threshold=0.5),
    OutputTensor(name="mask", shape=[2, 2], kind="tensor"),
    OutputTensor(name="worth", shape=[1], kind="values", classes=["euros"]),
]


@pytest.fixture(scope="module")
def model() -> Any:
    """An untrained one of a text and a number."""
    keras = import_keras()
    layers = keras.layers
    plan, age = keras.Input((1,), name="plan", dtype="string"), keras.Input((1,), name="age")
    known = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(plan)
    joined = layers.Concatenate()([known, age])
    outputs = {
        "leaves": layers.Dense(1, "sigmoid")(joined),
        "mask": layers.Reshape((2, 2))(layers.Dense(4)(joined)),
        "worth": layers.Dense(1)(joined),
    }
    return keras.Model({"age": age, "plan": plan}, outputs)


def _report(model: Any, targets: Any) -> dict[str, bytes]:
    plans = np.full((_COUNT, 1), b"a", object)
    fitted = FittedModel(
        model=model,
        history={},
        test_items={"age": np.linspace(0, 1, _COUNT, dtype=np.float32)[:, None], "plan": plans},
        test_targets=targets,
    )
    takes = read_signature(model, "m").inputs
    return model_report(fitted, ModelDraft(name="m", inputs=takes, outputs=_GIVES))


def test_each_output_with_targets_has_its_sections(model: Any) -> None:
    labels, values = np.arange(_COUNT) % 2, np.linspace(3, 9, _COUNT)

    files = _report(model, {"leaves": labels, "worth": values})

    page = files["report.html"].decode()
    assert "Gives leaves, mask, worth" in page
    for fragment, title in (
        ("confusion-1", "leaves: Confusion"),
        ("errors-3", "worth: Errors"),
        ("untested", "Other outputs"),
        ("network", "Network"),
    ):
        assert f'<a href="#{fragment}">{title}' in page, title
        assert f'<section id="{fragment}">' in page
    assert "<dt>mask</dt><dd>float32 [2, 2]</dd>" in page
    assert "age: 1, float32; plan: 1, string" in page
    assert {"output-1-roc-curve.png", "output-3-residuals.png"} < set(files)


def test_without_targets_there_is_no_report(model: Any) -> None:
    assert {} == _report(model, {"mask": np.zeros((_COUNT, 2, 2))})


def test_targets_are_by_name_or_in_the_order_of_outputs() -> None:
    zeros, ones = np.zeros(2), np.ones(2)
    for given, expected in (
        ({"worth": ones}, [None, None, ones]),
        ([zeros, zeros, ones], [zeros, zeros, ones]),
        (ones, [None, None, None]),
    ):
        found = targets_by_output(given, _GIVES)

        assert [output.name for output in _GIVES] == list(found)
        for want, have in zip(expected, found.values(), strict=True):
            assert (want is None) == (have is None)
            assert want is None or (want == have).all()
    assert [1.0, 1.0] == targets_by_output([1, 1], _GIVES[:1])["leaves"].tolist()  # type: ignore[union-attr]  # an array
