"""How two models differ: flips, changes of probabilities, divergence, by class."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from fornada.errors import UsageError
from fornada.tensors import OutputTensor
from producer.client import Client
from producer.comparison import COMPARES, Flip, compare_results, submit_both
from producer.results import Results
from producer.testing import in_memory_client

from ...deployment import publish_unloadable

_NAN = float("nan")


def _results(
    rows: Any, *, model: str = "m:1", item_ids: list[str] | None = None, **output: Any
) -> Results:
    array = np.array(rows, np.float32)
    facts = {"kind": "probabilities", "classes": ["cat", "dog"], **output}
    return Results(
        gives=[OutputTensor(name="o", shape=list(array.shape[1:]), **facts)],
        outputs={"o": array},
        item_ids=item_ids or [f"i{number}" for number in range(len(array))],
        errors={},
        model=model,
    )


def test_flips_and_changes_are_told_with_their_items_and_classes() -> None:
    first = _results([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [_NAN, _NAN]])
    second = _results([[0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5]], model="m:2")

    (found,) = compare_results(first, second).outputs

    assert ("o", 3, 1) == (found.output, found.items, found.items_left_out)
    assert [Flip(item_id="i1", first="cat", second="dog")] == found.flips
    assert pytest.approx(0.5) == found.largest_change
    assert "i1" == found.largest_change_item
    cat, dog = found.classes
    assert ("cat", 2, 1, 1, 0) == (
        cat.name,
        cat.items_first,
        cat.items_second,
        cat.flips_from,
        cat.flips_to,
    )
    assert ("dog", 1, 2, 0, 1) == (
        dog.name,
        dog.items_first,
        dog.items_second,
        dog.flips_from,
        dog.flips_to,
    )
    assert pytest.approx(0.5) == cat.largest_change
    assert pytest.approx(0.2) == cat.mean_change


def test_the_divergence_is_kullback_and_leibler_s_in_nats() -> None:
    # given a fair coin, and one that is not
    (found,) = compare_results(_results([[0.5, 0.5]]), _results([[0.25, 0.75]])).outputs

    assert pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-6) == found.mean_divergence
    assert found.mean_divergence == found.largest_divergence


def test_a_probability_of_zero_diverges_far_and_not_infinitely() -> None:
    (found,) = compare_results(_results([[0.5, 0.5]]), _results([[0, 1]])).outputs

    assert found.mean_divergence is not None
    assert 5 < found.mean_divergence < 20


def test_outputs_that_are_no_probabilities_have_no_divergence() -> None:
    for rows in ([[2.0, -1.0]], [[0.5, 0.6]]):
        (found,) = compare_results(_results([[0.5, 0.5]]), _results(rows)).outputs
        assert (None, None) == (found.mean_divergence, found.largest_divergence)


def test_what_does_not_compare_is_refused() -> None:
    for second, fact in (
        (_results([[0, 1]], classes=["dog", "cat"]), "different items or outputs"),
        (_results([[0, 1]], kind="values"), "different items or outputs"),
        (_results([[0, 1]], item_ids=["other"]), "different items or outputs"),
        (_results([[_NAN, _NAN]]), "none of 1 items has a result from both"),
    ):
        with pytest.raises(UsageError, match=fact):
            compare_results(_results([[0, 1]]), second)


def test_values_are_compared_by_how_far_they_are_apart() -> None:
    facts = {"kind": "values", "classes": ["price", "rent"]}
    first = _results([[20, 1], [30, 2], [_NAN, _NAN]], **facts)
    second = _results([[21, 1], [26, 2], [50, 3]], model="m:2", **facts)

    (found,) = compare_results(first, second).outputs

    assert ("values", 2, 1) == (found.kind, found.items, found.items_left_out)
    assert (4.0, "i1", 1.25) == (
        found.largest_change,
        found.largest_change_item,
        found.mean_change,
    )
    assert ([], [], None) == (found.flips, found.classes, found.mean_divergence)
    price, rent = found.values
    assert ("price", 25.0, 23.5, 2.5, 4.0) == (
        price.name,
        price.mean_first,
        price.mean_second,
        price.mean_change,
        price.largest_change,
    )
    assert ("rent", 0.0, 0.0) == (rent.name, rent.mean_change, rent.largest_change)


def test_of_two_classes_each_model_s_own_threshold_decides() -> None:
    first = _results([[0.4], [0.6], [0.9]], kind="binary", classes=["no", "yes"])
    second = _results([[0.6], [0.6], [0.9]], kind="binary", classes=["no", "yes"], threshold=0.7)

    (found,) = compare_results(first, second).outputs

    assert [Flip(item_id="i1", first="yes", second="no")] == found.flips
    no, yes = found.classes
    assert ("no", 1, 2, 0, 1) == (
        no.name,
        no.items_first,
        no.items_second,
        no.flips_from,
        no.flips_to,
    )
    assert ("yes", 1, 0, pytest.approx(0.2)) == (
        yes.name,
        yes.flips_from,
        yes.flips_to,
        yes.largest_change,
    )
    # and the divergence is that of a coin with this probability
    expected = 0.6 * np.log(0.6 / 0.4) + 0.4 * np.log(0.4 / 0.6)
    assert pytest.approx(expected, rel=1e-4) == found.largest_divergence


def test_of_several_classes_each_is_compared_and_a_flip_has_them_all() -> None:
    first = _results([[0.9, 0.8], [0.1, 0.2], [0.6, 0.1]], kind="multilabel")
    second = _results([[0.9, 0.2], [0.1, 0.2], [0.2, 0.1]], kind="multilabel")

    (found,) = compare_results(first, second).outputs

    assert [
        Flip(item_id="i0", first=("cat", "dog"), second=("cat",)),
        Flip(item_id="i2", first=("cat",), second=()),
    ] == found.flips
    assert [("cat", 2, 1, 1, 0), ("dog", 1, 0, 1, 0)] == [
        (each.name, each.items_first, each.items_second, each.flips_from, each.flips_to)
        for each in found.classes
    ]
    assert (None, []) == (found.mean_divergence, found.values)


def test_embeddings_are_compared_by_their_directions() -> None:
    facts = {"kind": "embedding", "classes": None}
    first = _results([[1, 0], [2, 2], [0, 0], [0, 0], [_NAN, 1]], **facts)
    second = _results([[0, 3], [1, 1], [0, 0], [1, 0], [1, 1]], **facts)

    (found,) = compare_results(first, second).outputs

    assert (4, 1, [], [], []) == (
        found.items,
        found.items_left_out,
        found.flips,
        found.classes,
        found.values,
    )
    distances = found.cosine_distances
    assert distances is not None
    assert (pytest.approx(0.5), pytest.approx(1.0), "i0") == (
        distances.mean,
        distances.largest,
        distances.largest_item,
    )
    assert (3.0, "i0") == (found.largest_change, found.largest_change_item)


def test_of_several_outputs_each_is_compared_whatever_it_holds() -> None:
    # given a mask, boxes of which there may be any number, and a text
    gives = [
        OutputTensor(name="mask", dtype="uint8", shape=[2], kind="tensor"),
        OutputTensor(name="boxes", dtype="int64", shape=[None], kind="tensor"),
        OutputTensor(name="text", dtype="string", shape=[], kind="tensor"),
    ]
    masks = np.uint8([[0, 255], [7, 7]]), np.uint8([[2, 255], [7, 7]])
    boxes = [np.int64([1, 2]), np.int64([3])], [np.int64([1, 2, 3]), np.int64([5])]
    texts = np.array([b"a", b"b"], object), np.array([b"a", b"c"], object)
    first, second = (
        Results(
            gives=gives[::step],
            outputs={"mask": mask, "boxes": box, "text": text},
            item_ids=["i0", "i1"],
            errors={},
            model="m:1",
        )
        for mask, box, text, step in zip(masks, boxes, texts, (1, -1), strict=True)
    )

    found = compare_results(first, second)

    assert [("mask", 2, 0, 2.0, "i0", 0.5), ("boxes", 1, 1, 2.0, "i1", 2.0)] == [
        (
            each.output,
            each.items,
            each.shapes_differing,
            each.largest_change,
            each.largest_change_item,
            each.mean_change,
        )
        for each in found.outputs[:2]
    ]
    text = found.outputs[2]
    assert ("text", 1.0, "i1", 0.5) == (
        text.output,
        text.largest_change,
        text.largest_change_item,
        text.mean_change,
    )
    other = dataclasses.replace(
        second, gives=[*gives[:2], OutputTensor(name="o", shape=[1], kind="tensor")]
    )
    with pytest.raises(UsageError, match="different items or outputs"):
        compare_results(first, other)


def _client(*, classes: tuple[str, ...] = ("cat", "dog")) -> Client:
    """A client whose model has a second version of these classes."""
    client = in_memory_client(model="m", item_shape=[2], classes=["cat", "dog"])
    publish_unloadable(client._jobs.objects, "m", item_shape=[2], classes=list(classes))
    return client


def test_the_same_images_go_to_both_models_as_two_jobs() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(3, 2)

    jobs = submit_both(_client(), lambda: iter([images]), first="m@prod", second="m")

    assert ["m:1", "m:2"] == [str(job.manifest.model) for job in jobs]
    assert jobs[0].manifest.tags[COMPARES] == jobs[1].manifest.tags[COMPARES]
    (found,) = compare_results(*(job.results() for job in jobs)).outputs
    assert (3, [], 0.0) == (found.items, found.flips, found.largest_change)


def test_a_version_is_not_compared_with_itself() -> None:
    with pytest.raises(UsageError, match="m@prod and m:1 are both m:1; name two versions"):
        submit_both(_client(), lambda: iter([]), first="m@prod", second="m:1")


def test_models_of_other_classes_are_not_compared() -> None:
    with pytest.raises(UsageError, match="m:1 and m:2 have different outputs"):
        submit_both(_client(classes=("dog", "cat")), lambda: iter([]), first="m:1", second="m:2")
