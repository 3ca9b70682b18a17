"""Results say what the kind of output says: labels, scores, values, embeddings; nothing else."""

from typing import Any

import numpy as np
import pytest

from fornada.errors import UsageError
from fornada.tensors import OutputTensor
from producer.client import Client
from producer.job import Job
from producer.results import Results
from producer.testing import in_memory_client

_NAN = float("nan")


def _results(rows: Any, *, errors: dict[int, str] | None = None, **output: Any) -> Results:
    array = np.array(rows, np.float32)
    return Results(
        gives=[OutputTensor(name="o", shape=list(array.shape[1:]), **output)],
        outputs={"o": array},
        item_ids=[f"i{number}" for number in range(len(array))],
        errors=errors or {},
        model="m:1",
    )


def test_of_probabilities_the_likeliest_class_is_the_label() -> None:
    found = _results(
        [[0.1, 0.9], [_NAN, _NAN], [0.5, 0.5]],
        kind="probabilities",
        classes=["cat", "dog"],
        errors={1: "broken"},
    )

    assert ["dog", None, "cat"] == found.labels
    np.testing.assert_array_equal(np.float32([0.9, _NAN, 0.5]), found.scores, strict=True)
    assert [[False, True], [False, False], [True, False]] == found.applies.tolist()
    assert [True, False, True] == found.ok.tolist()
    assert found.outputs["o"].tobytes() == found.probabilities.tobytes()


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_of_two_classes_the_second_begins_at_the_threshold(shape: tuple[int, ...]) -> None:
    rows = np.float32([0.3, 0.25, _NAN]).reshape(shape)
    facts = {"kind": "binary", "errors": {2: "broken"}}

    found = _results(rows, classes=["ham", "spam"], threshold=0.3, **facts)

    assert (["ham", "spam"], ["spam", "ham", None]) == (found.classes, found.labels)
    # the probability of the label, whichever it is
    np.testing.assert_array_equal(np.float32([0.3, 0.75, _NAN]), found.scores, strict=True)
    assert (3, 1) == found.probabilities.shape
    assert shape == found.outputs["o"].shape
    assert [[False, True], [True, False], [False, False]] == found.applies.tolist()
    # and without names and threshold
    assert ["0", "0", None] == _results(rows, **facts).labels


def test_of_several_classes_all_from_the_threshold_on_apply() -> None:
    rows = [[0.5, 0.7], [0.1, 0.4], [_NAN, _NAN]]
    facts = {"kind": "multilabel", "classes": ["cat", "dog"], "errors": {2: "broken"}}
    found = _results(rows, **facts)

    assert [("cat", "dog"), (), None] == found.labels
    assert [[True, True], [False, False], [False, False]] == found.applies.tolist()
    assert [("cat", "dog"), ("dog",), None] == _results(rows, threshold=0.4, **facts).labels
    assert [("dog",), (), None] == _results(rows, threshold=0.6, **facts).labels
    with pytest.raises(UsageError, match="is of kind multilabel and has no scores; read probab"):
        _ = found.scores


def test_values_have_names_and_embeddings_have_none() -> None:
    values = _results([[1, 2], [3, 4]], kind="values", classes=["price", "rent"])
    embedding = _results([[1, 2], [3, 4]], kind="embedding")
    tensor = _results([[[1, 2]], [[3, 4]]], kind="tensor")

    assert {"price": [1, 3], "rent": [2, 4]} == {
        name: array.tolist() for name, array in values.values.items()
    }
    assert [[1, 2], [3, 4]] == embedding.embeddings.tolist()
    assert (2, 1, 2) == tensor.outputs["o"].shape
    assert (["price", "rent"], [], []) == (values.classes, embedding.classes, tensor.classes)
    for results, name, remedy in (
        (values, "labels", "values"),
        (values, "probabilities", "values"),
        (embedding, "labels", "embeddings"),
        (embedding, "probabilities", "embeddings"),
        (embedding, "values", "embeddings"),
        (tensor, "embeddings", "outputs"),
    ):
        with pytest.raises(UsageError, match=f"has no {name}; read {remedy}$"):
            getattr(results, name)


def test_nan_that_a_model_may_give_is_no_failure_and_no_label() -> None:
    found = _results([[_NAN, 0.1], [0.2, 0.8]], kind="probabilities", finite=False)

    assert ([True, True], [None, "1"]) == (found.ok.tolist(), found.labels)


_KINDS: dict[str, tuple[list[str] | None, Any, str, Any]] = {
    "probabilities": (["dark", "light"], lambda x: np.hstack([1 - x, x]), "labels", "light"),
    "binary": (["dark", "light"], lambda x: x, "labels", "light"),
    "multilabel": (["seen", "light"], lambda x: np.hstack([x + 1, x]), "labels", ("seen", "light")),
    "values": (["light"], lambda x: x, "values", {"light": 1.0}),
    "embedding": (None, lambda x: np.hstack([x, x, -x]), "embeddings", [1.0, 1.0, -1.0]),
}


def _submitted(kind: str) -> tuple[Client, Job]:
    """A job of three items, of which the second fails; the others' brightness is 0 and 1."""
    classes, outputs, *_ = _KINDS[kind]
    client = in_memory_client(
        model="m",
        item_shape=[1],
        item_dtype="float32",
        kind=kind,
        classes=classes,
        predict=outputs,
    )
    job = client.submit(np.float32([[0], [_NAN], [1]]), model="m", items_per_shard=2)
    return client, job


@pytest.mark.parametrize("kind", _KINDS)
def test_a_job_of_each_kind_has_the_results_of_its_kind(kind: str) -> None:
    *_, accessor, expected = _KINDS[kind]

    client, job = _submitted(kind)
    results = job.results()

    assert ("PARTIAL", kind) == (job.status().state.value, results.output.kind)
    assert ([True, False, True], [1]) == (results.ok.tolist(), list(results.errors))
    found = getattr(results, accessor)
    if isinstance(found, dict):
        last = {name: column.tolist()[2] for name, column in found.items()}
    else:
        last = found[2].tolist() if isinstance(found, np.ndarray) else found[2]
    assert expected == last
    assert (3, results.output.width) == results.outputs["outputs"].shape
    assert client.verify(job.id).same
