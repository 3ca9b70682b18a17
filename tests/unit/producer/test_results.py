"""Results say what the kind of output says: labels, scores, values, embeddings; nothing else."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from fornada.errors import MissingExtraError, UsageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.records import ModelPin, ObjectRef
from fornada.tensors import InputTensor, OutputTensor
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


def test_of_several_outputs_each_is_read_by_its_name() -> None:
    # given a label, a mask of whole numbers, and boxes, as many as there are
    gives = [
        OutputTensor(name="label", shape=[2], kind="probabilities", classes=["cat", "dog"]),
        OutputTensor(name="mask", dtype="uint8", shape=[2], kind="tensor"),
        OutputTensor(name="boxes", shape=[None, 4], kind="tensor"),
    ]
    boxes = [np.ones((3, 4), np.float32), np.zeros((0, 4), np.float32)]
    found = Results(
        gives=gives,
        outputs={
            "label": np.float32([[0.2, 0.8], [_NAN, _NAN]]),
            "mask": np.uint8([[1, 2], [0, 0]]),
            "boxes": boxes,
        },
        item_ids=["a", "b"],
        errors={1: "broken"},
        model="m:1",
    )

    assert ["dog", None] == found["label"].labels
    assert [[1, 2], [0, 0]] == found["mask"].matrix.tolist()
    assert [True, False] == found["mask"].is_finite.tolist() == found["boxes"].is_finite.tolist()
    assert boxes is found["boxes"].rows
    frame = found.to_pandas()
    assert ["dog", np.float32(0.8)] == frame.loc["a", ["label.label", "label.score"]].tolist()
    assert [None, "broken"] == frame.loc["b", ["mask", "error"]].tolist()
    assert [True, False] == frame["error"].isna().tolist()
    for read, fact in (
        (
            lambda: found.labels,
            r"has 3 outputs: 'label', .*; read one by its name, as results\['l",
        ),
        (lambda: found["masks"], "no output 'masks'; there are 'label', 'mask', 'boxes'"),
        (lambda: found["mask"].labels, "'mask' is of kind tensor and has no labels; read outputs"),
        (lambda: found["boxes"].matrix, r"\[null, 4\] numbers in output 'boxes', which fit no"),
    ):
        with pytest.raises(UsageError, match=fact):
            read()


def test_results_that_memory_has_no_room_for_say_how_to_read_them() -> None:
    # given an exbibyte of numbers
    manifest = JobManifest(
        schema_version=3,
        job_id="job",
        model=ModelPin(name="m", version=1, sha256="0" * 64),
        inputs=[InputTensor(name="x", dtype="uint8", shape=[1])],
        outputs=[OutputTensor(name="o", shape=[2**28], kind="tensor")],
        shards=Shards([ShardInput(objects=[ObjectRef(key="k", size_bytes=1)], item_count=2**30)]),
        max_attempts=1,
        created_at=datetime(2026, 11, 29, tzinfo=UTC),
    )

    with pytest.raises(UsageError, match=r"'o' of job job is 1073741824.0 GiB, .* read shard_r"):
        Results.of(manifest, [])


@pytest.mark.parametrize(
    ("package", "way", "remedy"),
    [
        ("pyarrow", Results.to_arrow, r"pip install 'fornada\[tables\]'"),
        ("pandas", Results.to_pandas, "pip install pandas"),
    ],
)
def test_a_table_without_its_package_says_what_to_install(
    package: str, way: Callable[[Results], Any], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=rf"{package}, which is not installed; {remedy}"):
        way(_results([[1]], kind="embedding"))


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
