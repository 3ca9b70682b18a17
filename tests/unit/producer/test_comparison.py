"""How two models differ: flips, changes of probabilities, divergence, by class."""

from typing import Any

import numpy as np
import pytest

from fornada.errors import UsageError
from producer.client import Client
from producer.comparison import COMPARES, Flip, compare_results, submit_both
from producer.results import Results
from producer.testing import in_memory_client

from ...deployment import publish_unloadable

_NAN = float("nan")


def _results(rows: Any, **changes: Any) -> Results:
    facts = {
        "probabilities": np.array(rows, np.float32),
        "classes": ["cat", "dog"],
        "item_ids": [f"i{number}" for number in range(len(rows))],
        "errors": {},
        "model": "m:1",
    }
    return Results(**{**facts, **changes})


def test_flips_and_changes_are_told_with_their_items_and_classes() -> None:
    first = _results([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [_NAN, _NAN]])
    second = _results([[0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5]], model="m:2")

    found = compare_results(first, second)

    assert ("m:1", "m:2", 3, 1) == (found.first, found.second, found.items, found.items_left_out)
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
    found = compare_results(_results([[0.5, 0.5]]), _results([[0.25, 0.75]]))

    assert pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-6) == found.mean_divergence
    assert found.mean_divergence == found.largest_divergence


def test_a_probability_of_zero_diverges_far_and_not_infinitely() -> None:
    found = compare_results(_results([[0.5, 0.5]]), _results([[0, 1]]))

    assert found.mean_divergence is not None
    assert 5 < found.mean_divergence < 20


def test_outputs_that_are_no_probabilities_have_no_divergence() -> None:
    for rows in ([[2.0, -1.0]], [[0.5, 0.6]]):
        found = compare_results(_results([[0.5, 0.5]]), _results(rows))
        assert (None, None) == (found.mean_divergence, found.largest_divergence)


def test_what_does_not_compare_is_refused() -> None:
    for second, fact in (
        (_results([[0, 1]], classes=["dog", "cat"]), "different items or classes"),
        (_results([[0, 1]], task="regression"), "different items or classes"),
        (_results([[0, 1]], item_ids=["other"]), "different items or classes"),
        (_results([[_NAN, _NAN]]), "none of 1 items has a result from both"),
    ):
        with pytest.raises(UsageError, match=fact):
            compare_results(_results([[0, 1]]), second)


def test_values_are_compared_by_how_far_they_are_apart() -> None:
    facts = {"task": "regression", "classes": ["price", "rent"]}
    first = _results([[20, 1], [30, 2], [_NAN, _NAN]], **facts)
    second = _results([[21, 1], [26, 2], [50, 3]], model="m:2", **facts)

    found = compare_results(first, second)

    assert ("regression", 2, 1) == (found.task, found.items, found.items_left_out)
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
    found = compare_results(*(job.results() for job in jobs))
    assert (3, [], 0.0) == (found.items, found.flips, found.largest_change)


def test_a_version_is_not_compared_with_itself() -> None:
    with pytest.raises(UsageError, match="m@prod and m:1 are both m:1; name two versions"):
        submit_both(_client(), lambda: iter([]), first="m@prod", second="m:1")


def test_models_of_other_classes_are_not_compared() -> None:
    with pytest.raises(UsageError, match="m:1 and m:2 have different outputs"):
        submit_both(_client(classes=("dog", "cat")), lambda: iter([]), first="m:1", second="m:2")
