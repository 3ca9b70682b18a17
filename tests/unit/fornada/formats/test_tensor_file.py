"""Safetensors files of several tensors: what they hold, and what damaged ones are called."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fornada.errors import InputError
from fornada.formats.tensor_file import from_tensor_file, to_tensor_file
from fornada.tensors import InputTensor

_TENSORS = [
    InputTensor(name="facts", dtype="float32", shape=[2]),
    InputTensor(name="text", dtype="string", shape=[]),
    InputTensor(name="words", dtype="int32", shape=[None]),
    InputTensor(name="photo", dtype="uint8", shape=[None, None, 3]),
    InputTensor(name="tags", dtype="string", shape=[None]),
]
_COLUMNS: dict[str, Any] = {
    "facts": np.array([[1, 2], [3, 4]], np.float32),
    "text": np.array([b"ol\xc3\xa1", b""], object),
    "words": [np.array([7, 8, 9], np.int32), np.array([5], np.int32)],
    "photo": [np.full((1, 2, 3), 1, np.uint8), np.full((2, 1, 3), 2, np.uint8)],
    "tags": [np.array([b"a", b"bc"], object), np.array([], object)],
}
_FILE = to_tensor_file(_COLUMNS, _TENSORS)


def _read(data: bytes, *, item_count: int = 2) -> dict[str, Any]:
    return from_tensor_file(data, _TENSORS, item_count=item_count, where="shard 0")


def test_the_layout_is_the_documented_one() -> None:
    stored = load(_FILE)

    assert {
        "facts": [[1, 2], [3, 4]],
        "text.values": list("olá".encode()),
        "text.offsets": [0, 4, 4],
        "words.values": [7, 8, 9, 5],
        "words.offsets": [0, 3, 4],
        "photo.values": [1] * 6 + [2] * 6,
        "photo.offsets": [0, 6, 12],
        "photo.shapes": [[1, 2, 3], [2, 1, 3]],
        "tags.values": list(b"abc"),
        "tags.offsets": [0, 1, 3],
        "tags.shapes": [[2], [0]],
    } == {name: array.tolist() for name, array in stored.items()}
    found = _read(_FILE)
    for name, column in _COLUMNS.items():
        for expected, actual in zip(column, found[name], strict=True):
            np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"facts": None}, "lacks 'facts'"),
        ({"other": np.zeros(2, np.float32)}, "holds 'other', which is no tensor of facts"),
        ({"facts": np.zeros((2, 2), np.float64)}, "facts is float64 of 2 axes, not float32 of 2"),
        ({"facts": np.zeros((2, 3), np.float32)}, r"facts has \[null, 3\]"),
        ({"facts": np.zeros((3, 2), np.float32)}, "3 items of facts"),
        ({"text.offsets": np.array([0, 5, 4])}, "text.offsets does not rise from 0 to 4"),
        ({"text.offsets": np.array([1, 4, 4])}, "does not rise from 0 to 4"),
        ({"text.offsets": np.array([], np.int64)}, "does not rise from 0 to 4"),
        ({"text.values": np.frombuffer(b"ol\xe1!", np.uint8)}, "text is not UTF-8"),
        ({"words.offsets": np.array([0, 3, 9])}, "does not rise from 0 to 4"),
        ({"photo.shapes": np.array([[1, 2, 3], [2, 2, 3]])}, "photo has shapes of 2 values"),
        ({"photo.shapes": np.array([[1, -2, -3], [2, 1, 3]])}, "photo has shapes of 2 values"),
        ({"photo.shapes": np.array([[2**62, 4, 3], [2, 1, 3]])}, "photo has shapes of 2 values"),
        ({"tags.shapes": np.array([[3], [0]])}, "tags has shapes of 2 values"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], fact: str) -> None:
    stored = {
        name: array for name, array in {**load(_FILE), **changed}.items() if array is not None
    }

    with pytest.raises(InputError, match=fact):
        _read(save(stored))


def test_another_number_of_items_is_refused() -> None:
    with pytest.raises(InputError, match=r"2 items of facts.* and the job says 3"):
        _read(_FILE, item_count=3)


@given(at=st.integers(0, len(_FILE) - 1), byte=st.integers(0, 255), end=st.integers(0, len(_FILE)))
def test_damaged_files_are_read_or_refused(at: int, byte: int, end: int) -> None:
    damaged = bytearray(_FILE)
    damaged[at] = byte

    for data in (bytes(damaged), _FILE[:end]):
        # Anything else is raised.
        with suppress(InputError):
            _read(data)


def test_a_header_that_claims_more_than_the_file_takes_no_memory() -> None:
    claims = {"facts": {"dtype": "F32", "shape": [2**40, 2], "data_offsets": [0, 2**43]}}
    header = json.dumps(claims).encode()

    with pytest.raises(InputError, match="not a readable safetensors file"):
        _read(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        _read((2**63).to_bytes(8, "little") + header)
