"""Shards of image files from untrusted manifests, tars and indices: items, errors, or ours.

Memory stays in bounds, and an item that is given is one of the files that were packed.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given
from numpy.typing import NDArray
from PIL import Image

from fornada.errors import FornadaError, InputError, IntegrityError
from fornada.formats.tar import (
    TAR_END,
    Span,
    index_json,
    parse_index,
    tar_header,
    tar_padding,
)
from fornada.jobs.items import Items
from fornada.jobs.shard_files import fetch_archive, fetch_objects
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.ranges import to_ranges
from fornada.records import ItemError, ObjectRef
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor

from ..photos import encoded
from .rig.fuzzing import EDITS, FUZZED, Edit, edited, little_memory, obeyed

_TAKEN = InputTensor(
    name="x",
    dtype="uint8",
    shape=[3, 4, 3],
    image=ImagePreprocessing(resize="none"),
)
_FILES = 6
#: The first size that no record has.
_BEYOND = 2**53
#: Those of an index that are followed by others.
_GOOD_ROWS = 3


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    with little_memory():
        yield


@cache
def _pixels() -> NDArray[np.uint8]:
    """uint8 [items, 3, 4, 3]."""
    return np.random.default_rng(1).integers(0, 256, (_FILES, 3, 4, 3), np.uint8)


@cache
def _archive() -> tuple[bytes, tuple[Span, ...]]:
    """A tar of PNGs, and where they are in it."""
    written, spans = bytearray(), []
    for number, pixels in enumerate(_pixels()):
        file = encoded(Image.fromarray(pixels), "PNG")
        written += tar_header(f"{number:08d}.png", len(file))
        spans.append(Span(len(written), len(file)))
        written += file + tar_padding(len(file))
    return bytes(written + TAR_END), tuple(spans)


def _read(shard: ShardInput, *objects: tuple[str, bytes]) -> Items | None:
    """The shard's items from a store of these objects; `None` where it is refused."""
    store = InMemoryObjectStore()
    for key, data in objects:
        store.put(key, data)
    jobs = JobStore(objects=store)
    fetch = fetch_archive if shard.format == "tar" else fetch_objects
    return obeyed(
        lambda: fetch(shard, fetch=jobs.read_checked).decoded(_TAKEN, pool=None).items,
        FornadaError,
    )


def _check(items: Items | None, shard: ShardInput) -> None:
    """Each item is one of those that were packed, or has an error; none is there twice."""
    if items is None:
        return
    known = {pixels.tobytes() for pixels in _pixels()}
    given = [int(position) for group in items.groups for position in group.positions]
    failed = [error.index for error in items.errors]
    assert list(range(shard.item_count)) == sorted([*given, *failed])
    assert {row.tobytes() for group in items.groups for row in group.rows.only} <= known


@given(edits=EDITS, has_index=st.booleans())
@FUZZED
def test_a_damaged_archive_gives_its_files_or_errors(
    edits: list[Edit],
    has_index: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    whole, spans = _archive()
    damaged = edited(whole, edits)
    index = ObjectRef.of("index.json", index_json(spans), inline=True) if has_index else None
    shard = ShardInput(
        format="tar",
        objects=[ObjectRef(key="a.tar", size_bytes=len(damaged))],
        item_count=_FILES,
        index=index,
    )

    items = _read(shard, ("a.tar", damaged))

    # Whatever pixels damaged files have: a row or an error for each.
    if items is not None:
        rows = sum(len(group.rows) for group in items.groups)
        assert _FILES == rows + len(items.errors)


_COUNTS = st.integers(-3, 3000) | st.integers(0, 2**70)
#: Within the archive, or a little beyond.
_NEAR = st.integers(0, 9000)
_ROWS = st.lists(
    st.tuples(_COUNTS, _COUNTS)
    | st.tuples(_COUNTS, _COUNTS, st.text(max_size=5) | st.none())
    | st.lists(st.none() | st.booleans() | st.text(max_size=3) | st.floats(), max_size=4),
    max_size=8,
)


@given(
    data=_ROWS.map(lambda rows: json.dumps(rows).encode())
    | st.lists(st.tuples(_NEAR, _NEAR), max_size=4).map(lambda rows: json.dumps(rows).encode())
    | EDITS.map(lambda edits: edited(index_json(_archive()[1]), edits))
    | st.binary(max_size=200)
)
@example(data=b"[[0, 1000000]]")
@FUZZED
def test_an_index_names_what_is_in_the_archive_or_is_refused(data: bytes) -> None:
    archive_bytes = len(_archive()[0])

    spans = obeyed(
        lambda: parse_index(data, archive_bytes=archive_bytes, where="index.json"), InputError
    )

    for span in spans or []:
        assert 0 <= span.first_byte <= span.end_byte <= archive_bytes


@given(rows=_ROWS, positions=st.sets(st.integers(0, 9), min_size=1).map(sorted))
@FUZZED
def test_any_index_gives_files_that_were_packed_or_errors(
    rows: list[Any], positions: list[int]
) -> None:
    whole, spans = _archive()
    index = json.dumps([*spans[:_GOOD_ROWS], *rows]).encode()
    shard = ShardInput(
        format="tar",
        objects=[ObjectRef.of("a.tar", whole)],
        item_count=len(positions),
        index=ObjectRef.of("index.json", index),
        selected=to_ranges(positions),
    )

    items = _read(shard, ("a.tar", whole), ("index.json", index))

    _check(items, shard)
    if items is not None:
        failed = {error.index for error in items.errors}
        assert not failed & {n for n, position in enumerate(positions) if position < _GOOD_ROWS}


@given(
    parts=st.lists(st.tuples(_COUNTS, _COUNTS), min_size=1, max_size=5),
    errors=st.sets(st.integers(0, 4)),
    ends_early=st.booleans(),
)
@FUZZED
def test_any_ranges_of_an_object_give_files_or_errors(
    parts: list[tuple[int, int]],
    errors: set[int],
    ends_early: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    whole, spans = _archive()
    objects = [
        ObjectRef(key="a.tar", first_byte=abs(first) % _BEYOND, size_bytes=abs(size) % _BEYOND)
        for first, size in parts
    ]
    objects += [
        ObjectRef(key="a.tar", first_byte=span.first_byte, size_bytes=span.size_bytes)
        for span in spans
    ]
    shard = ShardInput(
        format="image",
        objects=objects,
        item_count=len(objects),
        item_errors=[ItemError(index=index, reason="it is gone") for index in errors],
    )
    stored = whole[: spans[-1].end_byte - 1] if ends_early else whole

    items = _read(shard, ("a.tar", stored))

    _check(items, shard)
    if items is not None:
        assert errors <= {error.index for error in items.errors}
        assert _FILES - ends_early - len(errors) <= sum(len(group.rows) for group in items.groups)


def test_a_selection_beyond_all_memory_is_refused() -> None:
    body = {
        "format": "tar",
        "objects": [{"key": "a.tar", "size_bytes": 7}],
        "item_count": 1,
        "selected": [[0, 2**62]],
    }

    assert None is obeyed(lambda: ShardInput.from_plain(body, where="here"), FornadaError)


def test_an_archive_of_another_digest_is_not_decoded() -> None:
    whole, _ = _archive()
    ref = ObjectRef.of("a.tar", whole)
    shard = ShardInput(format="tar", objects=[ref], item_count=_FILES)
    store = InMemoryObjectStore()
    store.put("a.tar", whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])

    with pytest.raises(IntegrityError):
        fetch_archive(shard, fetch=JobStore(objects=store).read_checked)
