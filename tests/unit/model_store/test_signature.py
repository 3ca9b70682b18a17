"""Names, dtypes and shapes are read from any Keras model, and what is not supported is said."""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from fornada.tensors import Dtype, text_of
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

        (taken,), (given,) = signature.inputs, signature.outputs
        assert takes == f"{taken.name} {taken}"
        assert gives == f"{given.name} {given.shape}"


def test_every_dtype_is_taken(keras: Any) -> None:
    for dtype in get_args(Dtype):
        taken = keras.Input((3,), dtype=dtype, name="x")
        given = (
            keras.layers.Hashing(4)(taken)
            if dtype == "string"
            else keras.ops.cast(taken, "float32")
        )

        assert dtype == read_signature(keras.Model(taken, given), "it").inputs[0].dtype


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_several_inputs_and_outputs_have_the_order_in_which_keras_flattens_them(keras: Any) -> None:
    layers, ops, model = keras.layers, keras.ops, keras.Model
    one, other = keras.Input((2,), name="one"), keras.Input((None,), dtype="int32", name="other")
    text = keras.Input((), dtype="string", name="text")
    hidden = layers.Dense(2, name="kind")(one)
    by_key = _subclass(keras, lambda self, x: self.end(x["b"]) + self.end(x["a"]))
    by_key({"b": ops.zeros((2, 8)), "a": ops.zeros((2, 8))})
    in_list = _subclass(keras, lambda self, x: self.end(x[0]) + self.end(x[1]))
    in_list([ops.zeros((2, 8)), ops.zeros((2, 8))])
    for takes, gives, found in (
        (
            ["one float32 [2]", "other int32 [null]"],
            ["add float32 [null]"],
            model(
                [one, other],
                layers.Add(name="add")([layers.Dense(1)(one), ops.cast(other[:, :1], "float32")]),
            ),
        ),
        (
            ["a/b float32 [2]", "c string []"],
            ["kind float32 [2]", "kind_1 float32 [2]"],
            model({"c": text, "a": {"b": one}}, [hidden, hidden]),
        ),
        (
            ["one float32 [2]"],
            ["first float32 [2]", "second float32 [2, 1]"],
            model(one, {"second": layers.Reshape((2, 1))(one), "first": hidden}),
        ),
        (
            ["other int32 [null]"],
            ["c int32 [null]"],
            model(other, layers.Identity(name="c")(other)),
        ),
        (["a float32 [8]", "b float32 [8]"], ["outputs float32 [3]"], by_key),
        (["x_0 float32 [8]", "x_1 float32 [8]"], ["outputs float32 [3]"], in_list),
    ):
        signature = read_signature(found, "it")

        assert takes == [f"{taken.name} {taken}" for taken in signature.inputs]
        assert gives == [
            f"{given.name} {given.dtype} {text_of(given.shape or [])}"
            for given in signature.outputs
        ]


def test_all_that_is_not_supported_is_said_at_once(keras: Any) -> None:
    layers, ops, model = keras.layers, keras.ops, keras.Model
    one, text = keras.Input((2,), name="one"), keras.Input((), dtype="string", name="text")
    two_of_call = _subclass(keras, lambda self, a, b: self.end(a) + self.end(b))
    two_of_call(ops.zeros((2, 8)), ops.zeros((2, 8)))
    sparse = keras.Input((4,), sparse=True, name="s")
    many = [keras.Input((1,), name=f"i{number}") for number in range(65)]
    for facts, found in (
        (["takes several arguments: a, b", "give it one argument"], two_of_call),
        (
            ["takes sparse items: s (float32 [4])", "dense Input"],
            model(sparse, layers.Dense(2)(sparse)),
        ),
        (["(float32 [2]) for all items together"], model(one, ops.mean(one, axis=0))),
        (
            ["gives", "(string [])", "for all items", "let it end in numbers"],
            model([text, one], [layers.Identity()(text), ops.mean(one, axis=0)]),
        ),
        (["takes 65 inputs, over 64", "join some"], model(many, layers.Add()(many))),
    ):
        with pytest.raises(ModelRefusedError, match="not supported; ") as refusal:
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
        signature = read_signature(model, "it").with_dtypes_of(np.zeros((2, 8), dtype))

        assert [expected] == [taken.dtype for taken in signature.inputs]


def test_the_smallest_vocabulary_counts(keras: Any) -> None:
    words = keras.Input((3,), dtype="int32")
    inner = keras.Sequential([keras.layers.Embedding(20, 2)])
    joined = inner(words) + keras.layers.Embedding(30, 2)(words)

    assert 20 == token_count(keras.Model(words, joined))
    assert token_count(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])) is None
