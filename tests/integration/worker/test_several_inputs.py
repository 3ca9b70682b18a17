"""A model of several inputs and outputs, through a real worker: jobs, calls, retries."""

from typing import Any

import numpy as np
import pytest

from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.arithmetic import ArithmeticModel, arithmetic
from model_store.manifest import ModelDraft

_TIMEOUT_S = 60.0
TAKES = [
    InputTensor(name="photo", dtype="uint8", shape=[4, 4]),
    InputTensor(name="words", dtype="string", shape=[None]),
    InputTensor(name="facts", dtype="float32", shape=[2]),
]
GIVES = [
    OutputTensor(name="kind", shape=[3], kind="tensor"),
    OutputTensor(name="mask", dtype="float64", shape=[2, 2], kind="tensor"),
    OutputTensor(name="count", dtype="int64", shape=[], kind="tensor"),
]
MODEL = ArithmeticModel(output_count=3, seed=5, fails_on=7)
WORDS = [["a", "bc"], ["def"], ["x", "y", "z"], ["não", ""], ["q"]]
BAD = {1: "the model failed on it", 3: "'facts': null among its values"}


def inputs() -> dict[str, Any]:
    photos = np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4) + 10
    photos[1, 0, 0] = 7
    facts: list[list[float | None]] = [[n, n / 2] for n in range(5)]
    facts[3][1] = None
    return {"photo": photos, "words": WORDS, "facts": facts}


def expected(number: int) -> list[np.ndarray]:
    """What the model gives for one item, in this process."""
    given = inputs()
    words = np.empty((1, len(WORDS[number])), object)
    words[0] = [word.encode() for word in WORDS[number]]
    undisturbed = MODEL.model_copy(update={"fails_on": None})
    predict = arithmetic(undisturbed, TAKES, GIVES).compile(1)
    rows = Rows(given["photo"][number : number + 1], words, np.array([given["facts"][number]], "f"))
    return [array[0] for array in predict(rows).arrays]


@pytest.fixture(scope="module")
def client(shared: Any) -> Any:
    golden = Rows(
        np.ones((1, 4, 4), np.uint8), np.array([[b"a"]], object), np.ones((1, 2), np.float32)
    )
    shared.models.publish(
        ModelDraft(name="several", inputs=TAKES, outputs=GIVES),
        artifact=MODEL.to_json(),
        golden_inputs=golden,
        golden_outputs=arithmetic(MODEL, TAKES, GIVES).compile(1)(golden),
        check=lambda _artifact: None,
    )
    return shared.client


def check(outputs: dict[str, Any], numbers: list[int]) -> None:
    for at, tensor in enumerate(GIVES):
        found = outputs[tensor.name]
        assert (len(numbers), *tensor.fixed_shape) == found.shape
        assert np.dtype(tensor.numpy_dtype) == found.dtype
        for row, number in enumerate(numbers):
            if number not in BAD:
                np.testing.assert_array_equal(expected(number)[at], found[row])
            elif tensor.dtype.startswith("float"):
                assert np.isnan(found[row]).all()


def test_jobs_and_calls_give_the_same_bytes_however_they_are_cut(client: Any) -> None:
    for items_per_shard in (1, 3):
        job = client.submit(inputs(), model="several", items_per_shard=items_per_shard)
        assert ("PARTIAL", 3) == (job.wait(_TIMEOUT_S).state, job.status().items_ok)
        results = job.results()
        check(results.outputs, list(range(5)))
        assert BAD == {n: why[: len(BAD[n])] for n, why in results.errors.items()}

    called = client.predict(inputs(), model="several", errors="nan", timeout_s=_TIMEOUT_S)

    check(called, list(range(5)))


def test_failed_items_of_several_inputs_are_run_again(client: Any) -> None:
    job = client.submit(inputs(), model="several", items_per_shard=3)
    job.wait(_TIMEOUT_S)

    again = client.retry_failed(job.id)

    # What could not be read at submission is not.
    assert "FAILED" == again.wait(_TIMEOUT_S).state
    results = again.results(partial=True)
    assert (["1"], [0]) == (results.item_ids, list(results.errors))
    assert [("safetensors", 1)] == [(s.format, s.item_count) for s in again.manifest.shards]
