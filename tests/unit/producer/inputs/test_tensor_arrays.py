"""safetensors files from anyone: arrays by name, or one sentence on what is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from fornada.errors import InputError
from fornada.tensors import InputTensor
from producer.inputs.interface import Signature
from producer.inputs.named_arrays import arrays_in, named_blocks

SIGNATURE = Signature(
    inputs=[
        InputTensor(name="photo", dtype="uint8", shape=[2]),
        InputTensor(name="facts", dtype="float32", shape=[]),
    ],
    model="m:1",
)
PHOTOS = np.arange(6, dtype=np.uint8).reshape(3, 2)
FACTS = np.arange(3, dtype=np.float32)
DATA = save({"photo": PHOTOS, "facts": FACTS})


def read(path: Path) -> list[list[np.ndarray]]:
    arrays = arrays_in(path, "safetensors", SIGNATURE, where=path.name)
    blocks = list(named_blocks(arrays, SIGNATURE, path, path.name))
    return [np.concatenate(each) for each in zip(*(b.rows.arrays for b in blocks), strict=True)]


def test_a_file_is_read_by_name_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.inputs.named_arrays._BLOCK_BYTES", 4)
    (tmp_path / "a.safetensors").write_bytes(DATA)

    photos, facts = read(tmp_path / "a.safetensors")

    np.testing.assert_array_equal(PHOTOS, photos, strict=True)
    np.testing.assert_array_equal(FACTS, facts, strict=True)


def with_header(**changes: Any) -> bytes:
    end = 8 + int.from_bytes(DATA[:8], "little")
    header = {**json.loads(DATA[8:end]), **changes}
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + DATA[end:]


def test_files_that_lie_are_refused_in_one_line(tmp_path: Path) -> None:
    facts = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    for data, why in (
        (with_header(facts={**facts, "shape": [10**9]}), "claims 4000000000 bytes of data"),
        (with_header(facts={**facts, "shape": [-3]}), "claims bytes 0 to 12 of 18"),
        (with_header(facts={**facts, "data_offsets": [8, 10**12]}), "claims bytes 8 to 10000000"),
        (with_header(facts={**facts, "data_offsets": [12, 0]}), "claims bytes 12 to 0"),
        (with_header(facts={**facts, "dtype": "BF16"}), "is BF16, which NumPy lacks; write it as"),
        (with_header(facts={"shape": [3]}), "its header of .* bytes is damaged"),
        (with_header(facts=3), "is damaged"),
        (with_header(more=facts), "has 'more', which is none of them; m:1 takes 2 inputs"),
        (DATA[:-1], "claims bytes"),
        ((2**40).to_bytes(8, "little") + DATA[8:], "header of 1099511627776 bytes is damaged"),
        (b"", "header of 0 bytes"),
    ):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(InputError, match=why) as caught:
            read(tmp_path / "a")
        assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_items_or_refused(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    data = bytearray(DATA)
    for position, value in edits:
        data[position % len(data)] = value
    (tmp_path / "a").write_bytes(bytes(data))

    try:
        photos, facts = read(tmp_path / "a")
    except InputError:
        return
    assert len(photos) == len(facts) <= 3
