"""Items of any inputs come through jobs and calls as they went in, however they are cut."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fornada.tensors import InputTensor, OutputTensor
from producer.testing import in_memory_client

DTYPES = ("bool", "uint8", "int64", "float32", "string")


class Case(NamedTuple):
    """Inputs, and items: of each input an array an item."""

    takes: list[InputTensor]
    items: list[list[NDArray[Any]]]
    items_per_shard: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    takes = [
        InputTensor(name=f"input/{n}", dtype=draw(st.sampled_from(DTYPES)), shape=draw(_SHAPES))
        for n in range(draw(st.integers(1, 3)))
    ]
    count = draw(st.integers(1, 5))
    items = [[_item(draw, tensor) for tensor in takes] for _ in range(count)]
    return Case(takes, items, draw(st.sampled_from([1, 3, count])))


_SHAPES = st.lists(st.sampled_from([None, 1, 2]), max_size=3)


def _item(draw: st.DrawFn, tensor: InputTensor) -> NDArray[Any]:
    shape = [draw(st.integers(1, 3)) if side is None else side for side in tensor.shape]
    count = int(np.prod(shape))
    if tensor.dtype == "string":
        texts = draw(st.lists(st.text(max_size=3), min_size=count, max_size=count))
        cells = np.empty(count, object)
        cells[:] = [text.encode("utf-8", "replace") for text in texts]
        return cells.reshape(shape)
    numbers = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    return np.array(numbers).astype(tensor.dtype).reshape(shape)


def _given(case: Case) -> dict[str, Any]:
    """The items by name: arrays, or lists of arrays where the shape is open."""
    columns = {t.name: [item[at] for item in case.items] for at, t in enumerate(case.takes)}
    return {t.name: columns[t.name] if t.is_open else np.stack(columns[t.name]) for t in case.takes}


@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_items_come_through_as_they_went_in(case: Case) -> None:
    outputs = [
        OutputTensor(name=t.name, dtype=t.dtype, shape=t.shape, kind="tensor") for t in case.takes
    ]
    with in_memory_client(
        model="m", inputs=case.takes, outputs=outputs, predict=lambda items: items
    ) as client:
        job = client.submit(_given(case), model="m", items_per_shard=case.items_per_shard)
        found = job.results().outputs
        called = client.predict(_given(case), model="m")
        called = called if len(case.takes) > 1 else {case.takes[0].name: called}

    assert max(job.manifest.shards.item_counts) <= case.items_per_shard
    for at, tensor in enumerate(case.takes):
        for row, item in enumerate(case.items):
            np.testing.assert_array_equal(item[at], np.asarray(found[tensor.name][row]))
            np.testing.assert_array_equal(item[at], np.asarray(called[tensor.name][row]))
