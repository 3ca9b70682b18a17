"""Names, dtypes and shapes are read from any Keras model, and what is not there yet is said."""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from fornada.tensors import Dtype
from model_store.engines import keras_setup
from model_store.signature import read_signature, token_count


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


def _subclass(keras: Any, call: Any) -> Any:
    """A subclassed model with the method `call`, built on eight numbers."""
    made = type("Own", (keras.Model,), {"call": call})()
    made.end = keras.layers.Dense(3)
    return made


def _models(keras: Any) -> Iterator[tuple[str, str, Any]]:
    """How input and output are to be read, and the model."""
    layers, ops, model = keras.layers, keras.ops, keras.Model
    pixels = keras.Input((28, 28), dtype="uint8", name="pixels")
    flat = layers.Flatten()(pixels)
    yield "pixels uint8 [28, 28]", "end [3]", model(pixels, layers.Dense(3, name="end")(flat))
    yield (
        "pixels uint8 [28, 28]",
        "age [1]",
        model({"pixels": pixels}, {"age": layers.Dense(1)(flat)}),
    )
    nested = {"age": [layers.Dense(1)(flat)]}
    yield "pixels uint8 [28, 28]", "age/0 [1]", model(pixels, nested)
    scalar = ops.squeeze(layers.Dense(1)(flat), -1)
    yield (
        "pixels uint8 [28, 28]",
        f"{scalar._keras_history.operation.name} []",
        model([pixels], [scalar]),
    )
    words = keras.Input((None,), dtype="int64", name="words")
    pooled = layers.GlobalAveragePooling1D(name="pooled")(layers.Embedding(9, 2)(words))
    yield "words int64 [null]", "pooled [2]", model(words, pooled)
    photo = keras.Input((None, None, 3), name="photo")
    yield (
        "photo float32 [null, null, 3]",
        "gap [3]",
        model(photo, layers.GlobalAveragePooling2D(name="gap")(photo)),
    )
    one = keras.Input((), name="one")
    yield "one float32 []", "wide [1]", model(one, layers.Reshape((1,), name="wide")(one))
    in_eights = keras.Input(batch_shape=(8, 4), name="in_eights")
    yield (
        "in_eights float32 [4]",
        "out [2]",
        model(in_eights, layers.Dense(2, name="out")(in_eights)),
    )
    fitted = keras.Sequential([layers.Dense(2, name="last")])
    fitted.build((None, 6))
    yield f"{fitted.inputs[0]._keras_history.operation.name} float32 [6]", "last [2]", fitted
    own = _subclass(keras, lambda self, images, training=False: self.end(images))
    own(keras.ops.zeros((2, 8)))
    yield "images float32 [8]", "outputs [3]", own
    own = _subclass(keras, lambda self, x: {"a": self.end(x)})
    own(keras.ops.zeros((2, 8)))
    yield "x float32 [8]", "a [3]", own


def test_names_dtypes_and_shapes_are_those_of_keras(keras: Any) -> None:
    for takes, gives, model in _models(keras):
        signature = read_signature(model, "it")

        assert takes == f"{signature.input.name} {signature.input}"
        assert gives == f"{signature.output_name} {signature.output_shape}"


def test_every_dtype_but_text_is_taken(keras: Any) -> None:
    for dtype in get_args(Dtype):
        taken = keras.Input((3,), dtype=dtype, name="x")
        given = (
            keras.layers.Hashing(4)(taken)
            if dtype == "string"
            else keras.ops.cast(taken, "float32")
        )
        model = keras.Model(taken, given)
        if dtype == "string":
            with pytest.raises(
                ModelRefusedError, match=r"takes text: x \(string \[3\]\); not supported yet"
            ):
                read_signature(model, "it")
        else:
            assert dtype == read_signature(model, "it").input.dtype


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_all_that_is_not_there_yet_is_said_at_once(keras: Any) -> None:
    layers, ops, model = keras.layers, keras.ops, keras.Model
    one, other = keras.Input((2,), name="one"), keras.Input((None,), dtype="int32", name="other")
    text = keras.Input((), dtype="string", name="text")
    hidden = layers.Dense(2, name="kind")(one)
    two_of_call = _subclass(keras, lambda self, a, b: self.end(a) + self.end(b))
    two_of_call(ops.zeros((2, 8)), ops.zeros((2, 8)))
    by_key = _subclass(keras, lambda self, x: self.end(x["a"]) + self.end(x["b"]))
    by_key({"a": ops.zeros((2, 8)), "b": ops.zeros((2, 8))})
    sparse = keras.Input((4,), sparse=True, name="s")
    for facts, found in (
        (
            ["takes 2 inputs: one (float32 [2]), other (int32 [null])"],
            model([one, other], layers.Dense(1)(one) + ops.cast(other[:, :1], "float32")),
        ),
        (
            ["takes 2 inputs: a/b (float32 [2]), c (string []); gives 2 outputs"],
            model({"a": {"b": one}, "c": text}, [hidden, layers.Hashing(3)(text)]),
        ),
        (["takes 2 inputs: a (float32 of any shape), b ("], two_of_call),
        (["takes 2 inputs: a (float32 of any shape), b ("], by_key),
        (
            ["takes sparse items: s (float32 [4])", "dense Input"],
            model(sparse, layers.Dense(2)(sparse)),
        ),
        (
            [
                "gives 3 outputs: kind (float32 [2]), kind_1 (float32 [2]), age (float32 [1])",
                "outputs[0]",
            ],
            model(one, [hidden, hidden, layers.Dense(1, name="age")(one)]),
        ),
        (
            ["gives 2 outputs: first (float32 [2]), second (float32 [2])"],
            model(one, {"first": hidden, "second": hidden}),
        ),
        (
            ["gives an output of rank 2: r (float32 [2, 1])", "Flatten()"],
            model(one, layers.Reshape((2, 1), name="r")(one)),
        ),
        (
            ["gives an output of open size: c (int32 [null])"],
            model(other, layers.Identity(name="c")(other)),
        ),
        (["(float32 [2]) for all items together"], model(one, ops.mean(one, axis=0))),
        (
            ["takes text: text (string []); gives", "(string [])", "let it end in numbers"],
            model(text, layers.Identity()(text)),
        ),
    ):
        with pytest.raises(ModelRefusedError, match="not supported yet: this release") as refusal:
            read_signature(found, "it")
        for fact in facts:
            assert fact in str(refusal.value)


def test_a_model_that_does_not_say_what_it_takes_is_told_how(keras: Any) -> None:
    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ModelRefusedError, match=r"never built.* before you publish it"):
        read_signature(unbuilt, "it")


def test_a_subclassed_model_takes_integers_where_its_items_are(keras: Any) -> None:
    own = _subclass(keras, lambda self, x: self.end(x))
    own(keras.ops.zeros((2, 8)))
    taken = keras.Input((8,), name="x")
    known = keras.Model(taken, keras.layers.Dense(3)(taken))

    for model, dtype, expected in (
        (own, np.int64, "int64"),
        (own, np.float64, "float32"),
        (known, np.int64, "float32"),
    ):
        signature = read_signature(model, "it").with_dtype_of(np.zeros((2, 8), dtype))

        assert expected == signature.input.dtype


def test_the_smallest_vocabulary_counts(keras: Any) -> None:
    words = keras.Input((3,), dtype="int32")
    inner = keras.Sequential([keras.layers.Embedding(20, 2)])
    joined = inner(words) + keras.layers.Embedding(30, 2)(words)

    assert 20 == token_count(keras.Model(words, joined))
    assert token_count(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])) is None
