"""The figures of a job: in its status, and beside those of its model or of another job."""

from collections.abc import Sequence

import numpy as np
import pytest

from fornada.errors import DriftUnknownError
from fornada.figures.drift import output_drift
from fornada.figures.predictions import CONFIDENCE_ENDS, OutputFigures, predicted_by
from fornada.figures.shards import JobFigures
from fornada.tensors import OutputTensor
from producer import Client, Figures
from producer.testing import in_memory_client

KIND = OutputTensor(name="kind", shape=[2], kind="probabilities", classes=["cat", "dog"])


def client() -> Client:
    """Its model gives an item's first number as the probability of the first class."""
    return in_memory_client(
        model="m",
        item_shape=[2],
        item_dtype="float32",
        classes=["cat", "dog"],
        predict=lambda rows: np.stack([rows[:, 0], 1 - rows[:, 0]], axis=1),
    )


def of(shares: Sequence[float]) -> np.ndarray:
    return np.array([[share, 0] for share in shares], np.float32)


def figures_of(counts: dict[float, int]) -> Figures:
    confidence = [counts.get(end, 0) for end in CONFIDENCE_ENDS]
    predicted = OutputFigures(classes=[1, 2], confidence=confidence, confidence_sum=1.5)
    sums = JobFigures(
        shards=1, cpu_s=1.0, bytes_in=2, bytes_out=3, predicted={KIND.name: predicted}
    )
    return Figures.of(sums, [KIND])


def test_deciles_are_interpolated_within_their_bins() -> None:
    (found,) = figures_of({0.6: 5, 0.8: 5}).predicted

    # Five items from 0.5 to 0.6, and five from 0.7 to 0.8.
    expected = [0.52, 0.54, 0.56, 0.58, 0.6, 0.72, 0.74, 0.76, 0.78]
    assert expected == pytest.approx(found.confidence_deciles)
    assert 0.15 == found.mean_confidence


def test_without_items_nothing_is_known_of_confidence() -> None:
    (found,) = figures_of({}).predicted

    assert (None, []) == (found.mean_confidence, found.confidence_deciles)


def test_the_status_of_an_ended_job_has_its_figures() -> None:
    job = client().submit(of([0.75, 0.25, 0.125, np.nan]), model="m", items_per_shard=2)

    figures = job.wait(timeout_s=30).figures

    assert figures is not None
    (found,) = figures.predicted
    assert [("cat", 1), ("dog", 2)] == [(each.name, each.items) for each in found.classes]
    assert (2.375 / 3, 3) == (pytest.approx(found.mean_confidence), found.items)
    assert 2 == figures.shards


def test_a_shifted_job_is_told_from_one_like_the_other() -> None:
    made = client()
    like = np.linspace(0.05, 0.95, 400)
    jobs = [
        made.submit(of(shares), model="m")
        for shares in (like, like[::2], np.linspace(0.8, 0.95, 200))
    ]
    for job in jobs:
        job.wait(timeout_s=30)

    same, other = (made.drift(job.id, against=jobs[0].id) for job in jobs[1:])

    assert ("stable", f"job {jobs[0].id}") == (same.verdict, same.against)
    assert "large" == other.verdict
    (shifted,) = other.outputs
    assert [(1.0, 0.5), (0.0, 0.5)] == [(each.share, each.expected) for each in shifted.classes]
    assert shifted.class_shift is not None
    assert ["large", "large"] == [shifted.class_shift.verdict, shifted.confidence_shift.verdict]
    assert 1 == pytest.approx(sum(each.share for each in shifted.confidence))


def test_a_model_without_test_items_leaves_another_job_to_compare_with() -> None:
    made = client()
    job = made.submit(of([0.75]), model="m")
    job.wait(timeout_s=30)

    with pytest.raises(DriftUnknownError, match=r"model m:1 was published without .* another job"):
        made.drift(job.id)


def test_values_have_no_drift() -> None:
    made = in_memory_client(
        model="v",
        item_shape=[2],
        item_dtype="float32",
        kind="embedding",
        predict=lambda rows: rows,
    )
    job = made.submit(of([0.75]), model="v")
    job.wait(timeout_s=30)

    with pytest.raises(DriftUnknownError, match="names no classes"):
        made.drift(job.id, against=job.id)


def test_of_labels_that_apply_together_the_one_that_moved_most_is_told() -> None:
    tags = OutputTensor(name="tags", shape=[2], kind="multilabel", classes=["new", "old"])
    before = np.tile(np.float32([[0.875, 0.125], [0.125, 0.125]]), (200, 1))
    after = np.tile(np.float32([[0.875, 0.875], [0.125, 0.125]]), (200, 1))
    found, expected = (predicted_by(rows, tags) for rows in (after, before))
    assert found is not None
    assert expected is not None

    drift = output_drift(tags, found, expected)

    assert drift is not None
    assert drift.class_shift is not None
    assert [(0.5, 0.5), (0.5, 0.0)] == [(each.share, each.expected) for each in drift.classes]
    assert ("large", "stable") == (drift.class_shift.verdict, drift.confidence_shift.verdict)
