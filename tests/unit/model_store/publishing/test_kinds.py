"""The kind of a model's outputs follows from its last layers, its loss and its golden outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from model_store.publishing.kinds import Finding, Loss, find_kind

_ITEMS = np.random.default_rng(0).random((16, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def found(keras: Any) -> Callable[..., Finding]:
    """`found(model, loss=…, metrics=…)`: what its outputs for random items are said to be."""

    def finding(model: Any, loss: Any = None, *, has_names: bool = False, **compiled: Any) -> Any:
        if loss is not None:
            model.compile("sgd", loss, **compiled)
        outputs = np.asarray(keras.ops.convert_to_numpy(model(_ITEMS)))
        return find_kind(
            model,
            outputs.astype(np.float32),
            number=0,
            loss=Loss.of(model.get_compile_config() if model.compiled else None),
            has_names=has_names,
            computes_floats=outputs.dtype.kind == "f",
        )

    return finding


def _ends(keras: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """A kind, and how a model of that kind may end."""
    layers, ops = keras.layers, keras.ops
    dense, activation = layers.Dense, layers.Activation
    yield "probabilities", dense(3, "softmax")
    yield "probabilities", lambda x: ops.softmax(dense(3)(x))
    yield "probabilities", lambda x: keras.activations.softmax(dense(3)(x))
    yield "probabilities", lambda x: activation("softmax", dtype="float32")(dense(3)(x))
    yield "probabilities", lambda x: layers.Softmax()(dense(2)(x))
    yield "probabilities", lambda x: activation("linear")(dense(3, "softmax")(x))
    yield "probabilities", lambda x: layers.Reshape((3,))(dense(3, "softmax")(x))
    yield "probabilities", lambda x: ops.cast(dense(3, "softmax")(x), "float16")
    yield "probabilities", lambda x: layers.Average()([dense(3, "softmax")(x) for _ in "12"])
    yield "probabilities", lambda x: ops.exp(ops.log_softmax(dense(3)(x)))
    yield "binary", dense(1, "sigmoid")
    yield "binary", lambda x: ops.sigmoid(dense(1)(x))
    yield "binary", lambda x: ops.squeeze(dense(1, "sigmoid")(x), -1)
    yield "binary", lambda x: dense(2, "softmax")(x)[:, 1]
    yield "binary", lambda x: layers.Dropout(0.5)(dense(1, "hard_sigmoid")(x))
    yield "binary", keras.Sequential([dense(4), dense(1, "sigmoid")])
    yield "binary", lambda x: layers.Rescaling(1.0)(activation("sigmoid")(dense(1)(x)))
    yield "multilabel", dense(5, "sigmoid")
    yield "multilabel", lambda x: layers.Concatenate()([dense(1, "sigmoid")(x) for _ in "123"])
    yield (
        "multilabel",
        lambda x: layers.GlobalMaxPooling1D()(
            layers.TimeDistributed(dense(4, "sigmoid"))(layers.Reshape((8, 1))(x))
        ),
    )
    yield "embedding", lambda x: layers.UnitNormalization()(dense(16)(x))
    yield "embedding", lambda x: (h := dense(16)(x)) / ops.norm(h, axis=-1, keepdims=True)
    yield "embedding", dense(64)
    yield (
        "embedding",
        lambda x: layers.GlobalAveragePooling1D()(dense(64, "relu")(layers.Reshape((8, 1))(x))),
    )
    yield "values", dense(1)
    yield "values", dense(4, "relu")
    yield "values", lambda x: ops.squeeze(dense(1)(x), -1)
    yield "values", lambda x: layers.Rescaling(5.0)(dense(1, "sigmoid")(x) + 0.5)
    yield "values", lambda x: ops.argmax(dense(3, "softmax")(x), axis=-1)
    yield "values", lambda x: ops.log_softmax(dense(3)(x))
    yield "values", lambda x: layers.Concatenate()([dense(1, "sigmoid")(x), dense(1, "tanh")(x)])


def test_the_end_of_a_model_tells_its_kind(keras: Any, found: Callable[..., Finding]) -> None:
    for number, (kind, end) in enumerate(_ends(keras)):
        taken = keras.Input((8,))
        model = keras.Model(taken, end(taken))

        assert Finding(kind=kind) == found(model), number  # type: ignore[arg-type]  # str


def test_the_loss_tells_where_the_end_does_not(keras: Any, found: Callable[..., Finding]) -> None:
    losses = keras.losses
    for kind, end, loss, facts in (
        ("values", (64, None), "mse", {}),
        ("values", (1, "sigmoid"), "mse", {}),
        ("values", (5, "sigmoid"), losses.MeanAbsoluteError(), {"metrics": ["mae"]}),
        ("values", (64, None), None, {"has_names": True}),
        ("binary", (1, "sigmoid"), "mse", {"metrics": ["accuracy"]}),
        ("binary", (1, "sigmoid"), "binary_crossentropy", {}),
        ("probabilities", (3, "softmax"), "mse", {}),
        ("embedding", (4, None), losses.CosineSimilarity(), {}),
        ("embedding", (4, None), {"out": "cosine_similarity"}, {}),
    ):
        taken = keras.Input((8,))
        model = keras.Model(taken, keras.layers.Dense(*end, name="out")(taken))

        assert Finding(kind=kind) == found(model, loss, **facts), (end, loss)  # type: ignore[arg-type]


def test_logits_are_values_and_the_way_to_probabilities_is_said(
    keras: Any, found: Callable[..., Finding]
) -> None:
    losses = keras.losses
    for width, loss, layer in (
        (10, losses.SparseCategoricalCrossentropy(from_logits=True), "Softmax()"),
        (1, losses.BinaryCrossentropy(from_logits=True), 'Activation("sigmoid")'),
        (5, losses.BinaryCrossentropy(from_logits=True), 'Activation("sigmoid")'),
    ):
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(width)])

        finding = found(model, loss)

        assert ("values", True) == (finding.kind, layer in str(finding.hint))
    always_one = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, "softmax")])
    with pytest.warns(UserWarning, match="softmax over axis"):
        finding = found(always_one)
    assert ("values", True) == (finding.kind, "always 1" in str(finding.hint))


def test_a_subclassed_model_is_judged_by_its_last_layer(
    keras: Any, found: Callable[..., Finding]
) -> None:
    class Scores(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self, end: Any) -> None:
            super().__init__()
            self.inner, self.end = keras.layers.Dense(4), end

        def call(self, items: Any) -> Any:
            return self.end(self.inner(items))

    dense = keras.layers.Dense
    for kind, end in (
        ("binary", dense(1, "sigmoid")),
        ("multilabel", keras.Sequential([dense(3, "sigmoid")])),
        ("probabilities", dense(3, "softmax")),
        ("values", dense(3)),
    ):
        assert Finding(kind=kind) == found(Scores(end))  # type: ignore[arg-type]  # str
