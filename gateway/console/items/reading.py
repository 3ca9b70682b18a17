"""Read what a model was given for one item; of most shards, nothing else is read."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fornada.errors import (
    InputError,
    IntegrityError,
    MissingExtraError,
    ObjectNotFoundError,
    UsageError,
)
from fornada.formats.items import Array
from fornada.formats.npy import MAX_HEADER_BYTES, read_npy_header
from fornada.formats.tensor_file import from_tensor_file
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_files import ImageFiles, TensorsWithFiles
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.shard_items import fetch_items
from fornada.jobs.store import JobStore
from fornada.records import ObjectRef
from gateway.console.job_access import View

#: A shard that has to be read whole for one item.
_MAX_SHARD_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenItem:
    """What a model was given for an item."""

    #: The bytes of an image file.
    file: bytes | None = None
    #: An item's array, without the items' axis, by the input's name.
    arrays: dict[str, Array] = field(default_factory=dict)
    #: Why there is neither.
    why_missing: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item is."""

    shard: int
    #: Among the shard's items.
    position: int


def place_of(view: View, item: int) -> Place:
    """The place of item number `item`.

    Raises:
        UsageError: The job has no such item.
    """
    manifest, starts = view.manifest, view.starts
    if not 0 <= item < manifest.item_count:
        raise UsageError(f"job {manifest.job_id} has {manifest.item_count} items, and no {item}")
    shard = bisect.bisect_right(starts, item) - 1
    return Place(shard, item - starts[shard])


def read_item(manifest: JobManifest, place: Place, *, jobs: JobStore) -> GivenItem:
    """What the model was given at `place`.

    Raises:
        StoreError: The store cannot be reached.
    """
    spec = manifest.shards[place.shard]
    try:
        if spec.format == "npy":
            return _of_array(manifest, spec, place.position, jobs)
        if spec.format == "safetensors":
            return _of_tensors(manifest, spec, place.position, jobs)
        return _of_shard(manifest, spec.select([place.position]), jobs)
    except (InputError, IntegrityError, ObjectNotFoundError, MissingExtraError) as exc:
        return GivenItem(why_missing=getattr(exc, "public_text", str(exc)))


def _of_shard(manifest: JobManifest, spec: ShardInput, jobs: JobStore) -> GivenItem:
    fetched = fetch_items(manifest, spec, jobs=jobs)
    if isinstance(fetched, ImageFiles):
        content = fetched.contents[0]
        if isinstance(content, str):
            return GivenItem(why_missing=content)
        return GivenItem(file=bytes(content))
    if isinstance(fetched, TensorsWithFiles):
        arrays = {name: np.asarray(column[0]) for name, column in fetched.columns.items()}
        contents = [files.contents[0] for files in fetched.files.values()]
        file = next((bytes(each) for each in contents if not isinstance(each, str)), None)
        return GivenItem(arrays=arrays, file=file)
    if not fetched.groups:
        return GivenItem(why_missing=fetched.errors[0].reason if fetched.errors else "it is gone")
    rows = fetched.groups[0].rows
    arrays = {t.name: array[0] for t, array in zip(manifest.takes, rows.arrays, strict=True)}
    return GivenItem(arrays=arrays)


def _of_array(manifest: JobManifest, spec: ShardInput, position: int, jobs: JobStore) -> GivenItem:
    ref, taken = spec.objects[0], manifest.input
    read = _reader(manifest, ref, jobs)
    head = read(0, min(ref.size_bytes, MAX_HEADER_BYTES))
    shape, dtype, header_bytes = read_npy_header(head, where=ref.key)
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    if row_bytes > _MAX_SHARD_BYTES:
        return GivenItem(why_missing="it is too large to be shown")
    first = header_bytes + spec.positions[position] * row_bytes
    if not shape or first + row_bytes > ref.size_bytes:
        return GivenItem(why_missing=f"{ref.key} has fewer items than the job says")
    row = np.frombuffer(read(first, row_bytes), dtype).reshape(shape[1:])
    if not taken.is_open and row.size == math.prod(taken.fixed_shape):
        row = row.reshape(taken.fixed_shape)
    return GivenItem(arrays={taken.name: row})


def _of_tensors(
    manifest: JobManifest, spec: ShardInput, position: int, jobs: JobStore
) -> GivenItem:
    """As stored: an item with values that the model does not take is shown with them."""
    ref = spec.objects[0]
    if ref.size_bytes > _MAX_SHARD_BYTES:
        return GivenItem(why_missing="its shard is too large to be read for one item")
    data = jobs.inputs.read(manifest, ref)
    columns = from_tensor_file(data, manifest.takes, where=ref.key)
    at = spec.positions[position]
    if at >= min(map(len, columns.values())):
        return GivenItem(why_missing=f"{ref.key} has fewer items than the job says")
    return GivenItem(arrays={name: np.asarray(column[at]) for name, column in columns.items()})


def _reader(manifest: JobManifest, ref: ObjectRef, jobs: JobStore) -> Callable[[int, int], bytes]:
    """Reads bytes of an object, whose digest is of all of it and says nothing of a part."""
    if ref.inline is not None:
        whole = jobs.inputs.read(manifest, ref)
        return lambda first, count: whole[first : first + count]
    return lambda first, count: jobs.inputs.read(manifest, ref.part(first, count))
