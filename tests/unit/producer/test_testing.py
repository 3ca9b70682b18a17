"""The client for callers' own tests does what the real one does."""

import doctest
import threading

import numpy as np
import pytest

import producer.testing
from fornada.errors import (
    InputError,
    MessageError,
    ModelNotFoundError,
    UsageError,
)
from fornada.tensors import InputTensor, OutputTensor
from producer import JobState
from producer.testing import in_memory_client

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


def brightness(images: np.ndarray) -> np.ndarray:
    light = images.reshape(len(images), -1).mean(axis=1) / 255
    return np.stack([1 - light, light], axis=1)


def test_a_job_is_done_at_once_with_the_callers_predictions() -> None:
    client = in_memory_client(
        model="m", item_shape=[2, 2], classes=["dark", "light"], predict=brightness
    )

    job = client.submit(IMAGES, model="m@prod", items_per_shard=3)

    assert JobState.SUCCEEDED == job.wait(timeout_s=0).state
    np.testing.assert_array_equal(
        brightness(IMAGES).astype(np.float32), job.results().probabilities
    )


def test_without_a_function_every_class_is_equally_likely() -> None:
    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b", "c", "d"])

    results = client.submit(IMAGES, model="m:1").results()

    assert (10, 4) == results.probabilities.shape
    assert {0.25} == set(results.probabilities.ravel().tolist())


def test_a_regression_gives_values_by_their_names() -> None:
    client = in_memory_client(
        model="m",
        item_shape=[2],
        item_dtype="float32",
        kind="values",
        classes=["sum"],
        predict=lambda features: features.sum(axis=1, keepdims=True),
    )

    job = client.submit(np.array([[1, 2.5], [3, -4]]), model="m@prod")

    assert "values" == job.manifest.output.kind
    results = job.results()
    np.testing.assert_array_equal(np.float32([3.5, -1]), results.values["sum"], strict=True)
    with pytest.raises(UsageError, match="is of kind values and has no labels; read values"):
        _ = results.labels


def test_token_sequences_are_submitted_as_any_whole_numbers() -> None:
    client = in_memory_client(
        model="m",
        item_shape=[3],
        item_dtype="int32",
        classes=["negative", "positive"],
        predict=lambda tokens: np.eye(2, dtype=np.float32)[(tokens == 7).any(axis=1).astype(int)],
    )

    results = client.submit(np.array([[0, 1, 7], [0, 1, 8]]), model="m").results()

    assert ["positive", "negative"] == results.labels
    with pytest.raises(InputError, match=r"takes \(3,\); resize images, pad or cut sequences"):
        client.submit(np.zeros((2, 4), np.int32), model="m")


def test_it_checks_what_the_real_one_checks() -> None:
    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a"], aliases={"canary": 1})

    assert "m:1" == client.submit(IMAGES, model="m@canary").status().model
    with pytest.raises(InputError):
        client.submit(IMAGES.astype(np.float64), model="m")
    with pytest.raises(ModelNotFoundError):
        client.submit(IMAGES, model="m@prod")
    with pytest.raises(MessageError, match=r"the model's input .* dtype: Input should be 'bool'"):
        in_memory_client(model="m", item_shape=[2], classes=["a"], item_dtype="complex64")
    with pytest.raises(MessageError, match=r"binary of shape \[1\] has 2 classes, not 3"):
        in_memory_client(model="m", item_shape=[2], classes=["a", "b", "c"], kind="binary")
    with pytest.raises(UsageError, match="the size of the outputs is unknown; give predict"):
        in_memory_client(model="m", item_shape=[2], kind="embedding")


def test_two_clients_share_nothing_and_leave_no_thread() -> None:
    before = threading.active_count()
    one, other = (in_memory_client(model="m", item_shape=[2, 2], classes=["a"]) for _ in range(2))

    one.submit(IMAGES, model="m")

    assert (1, 0) == (len(one.jobs()), len(other.jobs()))
    assert before == threading.active_count()


def test_its_example_is_true() -> None:
    example = doctest.DocTestFinder().find(
        producer.testing.in_memory_client,
        globs={"in_memory_client": in_memory_client, "np": np},
    )[0]

    assert 0 == doctest.DocTestRunner().run(example).failed
    assert len(example.examples) >= 3


def described(given: dict[str, np.ndarray]) -> dict[str, object]:
    """What a model of a photograph and two facts may say."""
    photos, pairs = given["photo"], zip(given["name"], given["fact"], strict=True)
    light = photos.reshape(len(photos), -1).mean(axis=1) / 255
    return {
        "kind": np.stack([1 - light, light], axis=1),
        "mask": photos > 100,
        "note": [f"{name.decode()} of {fact:.0f}" for name, fact in pairs],
    }


def test_several_inputs_and_outputs_have_names() -> None:
    client = in_memory_client(
        model="m",
        inputs=[
            InputTensor(name="photo", dtype="uint8", shape=[2, 2]),
            InputTensor(name="fact", dtype="float32", shape=[]),
            InputTensor(name="name", dtype="string", shape=[]),
        ],
        outputs=[
            OutputTensor(name="kind", shape=[2], kind="probabilities", classes=["dark", "light"]),
            OutputTensor(name="mask", dtype="bool", shape=[2, 2], kind="tensor"),
            OutputTensor(name="note", dtype="string", shape=[], kind="tensor"),
        ],
        predict=described,
    )
    photos = np.uint8([[[0, 0], [0, 200]], [[250, 250], [250, 0]]])
    given = {"photo": photos, "fact": np.float32([1, 2]), "name": ["cup", "hat"]}

    results = client.submit(given, model="m", items_per_shard=1, item_ids=["a", "b"]).results()
    at_once = client.predict(given, model="m")

    assert ["dark", "light"] == results["kind"].labels
    np.testing.assert_array_equal(photos > 100, results["mask"].rows, strict=True)
    assert [b"cup of 1", b"hat of 2"] == list(results.outputs["note"])
    for name, rows in results.outputs.items():
        np.testing.assert_array_equal(rows, at_once[name], strict=True)
    with pytest.raises(UsageError, match=r"predict returned \['kind'\], and the model gives \['m'"):
        in_memory_client(
            model="m",
            item_shape=[2],
            predict=lambda _rows: {"kind": [1]},
            outputs=[OutputTensor(name="m", shape=[], kind="tensor")],
        )


def test_of_a_function_that_returns_a_mapping_the_outputs_need_not_be_stated() -> None:
    client = in_memory_client(
        model="m", item_shape=[2], predict=lambda rows: {"sum": rows.sum(axis=1), "as/is": rows}
    )

    results = client.submit(np.uint8([[1, 2], [3, 4]]), model="m").results()

    assert {"sum": [3, 7], "as/is": [[1, 2], [3, 4]]} == {
        name: np.asarray(rows).tolist() for name, rows in results.outputs.items()
    }
    assert ["uint64", "uint8"] == [output.dtype for output in results.gives]
