"""Known probabilities give known counts, whatever is missing among them."""

import numpy as np
import pytest

from fornada.figures.predictions import CONFIDENCE_ENDS, OutputFigures, predicted_by
from fornada.tensors import OutputTensor


def bins(**items_by_end: int) -> list[int]:
    """`bins(b095=2)`: two items in the bin that ends at 0.95."""
    counts = dict.fromkeys(CONFIDENCE_ENDS, 0)
    for name, count in items_by_end.items():
        counts[float(f"{name[1]}.{name[2:]}")] = count
    return list(counts.values())


def test_the_likeliest_class_counts_with_its_probability() -> None:
    output = OutputTensor(name="y", shape=[3], kind="probabilities", classes=["a", "b", "c"])
    rows = np.array([[0.75, 0.125, 0.125], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0]], np.float32)
    expected = OutputFigures(
        classes=[1, 2, 0], confidence=bins(b05=1, b08=1, b10=1), confidence_sum=2.25
    )
    assert expected == predicted_by(rows, output)


def test_of_classes_that_are_equally_likely_the_first_counts() -> None:
    output = OutputTensor(name="y", shape=[3], kind="probabilities")
    rows = np.array([[0.0, 0.5, 0.5], [0.25, 0.25, 0.5]], np.float32)
    expected = OutputFigures(classes=[0, 1, 1], confidence=bins(b05=2), confidence_sum=1.0)
    assert expected == predicted_by(rows, output)


def test_items_without_a_result_count_nowhere() -> None:
    output = OutputTensor(name="y", shape=[2], kind="probabilities")
    rows = np.array([[0.25, 0.75], [np.nan, 0.5], [0.5, np.inf], [0.875, 0.125]], np.float32)
    expected = OutputFigures(classes=[0, 1], confidence=bins(b08=1), confidence_sum=0.75)
    assert expected == predicted_by(rows, output, failed=[3])


def test_a_binary_output_tells_two_classes_apart_by_its_threshold() -> None:
    output = OutputTensor(name="y", shape=[1], kind="binary", threshold=0.75)
    rows = np.array([[0.75], [0.5], [0.125], [np.nan]], np.float32)
    expected = OutputFigures(
        classes=[2, 1], confidence=bins(b05=1, b08=1, b09=1), confidence_sum=2.125
    )
    assert expected == predicted_by(rows, output)


def test_each_label_counts_and_the_least_certain_says_how_sure_an_item_is() -> None:
    output = OutputTensor(name="y", shape=[3], kind="multilabel", threshold=0.5)
    rows = np.array([[0.875, 0.75, 0.0], [0.125, 0.625, 0.0], [0.0, 0.0, np.nan]], np.float32)
    expected = OutputFigures(classes=[1, 2, 0], confidence=bins(b07=1, b08=1), confidence_sum=1.375)
    assert expected == predicted_by(rows, output)


def test_more_than_a_hundred_classes_are_not_counted_each() -> None:
    output = OutputTensor(name="y", shape=[101], kind="probabilities")
    found = predicted_by(np.eye(101, dtype=np.float32), output)
    assert found == OutputFigures(classes=None, confidence=bins(b10=101), confidence_sum=101.0)


@pytest.mark.parametrize("kind", ["values", "embedding", "tensor"])
def test_what_names_no_classes_has_no_figures(kind: str) -> None:
    output = OutputTensor.model_validate({"name": "y", "shape": [3], "kind": kind})
    assert predicted_by(np.zeros((2, 3), np.float32), output) is None


def test_what_is_no_probability_stays_within_the_bins() -> None:
    output = OutputTensor(name="y", shape=[2], kind="probabilities")
    rows = np.array([[7.0, -3.0], [-2.0, -1.0]], np.float32)
    expected = OutputFigures(classes=[1, 1], confidence=bins(b01=1, b10=1), confidence_sum=1.0)
    assert expected == predicted_by(rows, output)


def test_figures_add_up_and_a_forged_count_cannot_leave_what_a_record_holds() -> None:
    one = OutputFigures(classes=[2, 1], confidence=bins(b09=3), confidence_sum=2.5)
    most = OutputFigures(
        classes=[2**53 - 1, 0], confidence=bins(b09=2**53 - 1), confidence_sum=2.0**52
    )
    assert one.plus(one) == OutputFigures(
        classes=[4, 2], confidence=bins(b09=6), confidence_sum=5.0
    )
    assert most.plus(most).classes == [2**53 - 1, 0]
    assert most.plus(most).mean_confidence == 1.0
