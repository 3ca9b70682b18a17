"""Fetch and check a shard's items, and tell which cannot be predicted."""

from collections.abc import Callable, Sequence

import numpy as np

from fornada.errors import InputError
from fornada.formats.images import DecoderPool
from fornada.formats.items import fitted_shape
from fornada.formats.npy import from_npy
from fornada.formats.tensor_file import Column, FilesTensor, from_tensor_file
from fornada.jobs.items import Items
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_files import (
    Decoded,
    Fetch,
    ImageFiles,
    TensorsWithFiles,
    fetch_archive,
    fetch_objects,
    file_names,
)
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.table_items import fetch_rows
from fornada.records import ObjectRef
from fornada.tensors import InputTensor, text_of

#: An array of a shard's items, or their files, not decoded yet.
Fetched = Items | ImageFiles | TensorsWithFiles


def fetch_items(
    manifest: JobManifest,
    shard: ShardInput,
    *,
    jobs: JobStore,
    on_read: Callable[[int], object] = lambda _size_bytes: None,
) -> Fetched:
    """Fetch the items of `shard`: an array of them, or their files, not decoded yet.

    Args:
        manifest: The job's.
        shard: What to read.
        jobs: Reads it.
        on_read: Called with the size of each object that was read, or part of one, from any thread.

    Raises:
        InputError: The whole shard is unusable: wrong shape, dtype or count, or a damaged archive.
        StoreError: An object is missing, changed, or cannot be reached.
    """

    def fetch(ref: ObjectRef) -> bytes:
        data = jobs.inputs.read(manifest, ref)
        on_read(len(data))
        return data

    if shard.format == "image":
        return fetch_objects(shard, fetch=fetch)
    if shard.format == "tar":
        return fetch_archive(shard, fetch=fetch)
    if shard.format == "parquet":
        return fetch_rows(manifest, shard, fetch=fetch)
    if shard.format == "safetensors":
        return _read_tensors(manifest.takes, shard, fetch=fetch)
    return _read_array(manifest.input, shard, fetch=fetch).without(shard.item_errors)


def decode_items(
    fetched: Fetched,
    manifest: JobManifest,
    *,
    pool: DecoderPool | None = None,
) -> Decoded:
    """The items that were fetched; files are decoded by the threads of `pool`, if there is one.

    Raises:
        InputError: They are images, and the model takes none.
    """
    if isinstance(fetched, Items):
        return Decoded(fetched)
    if isinstance(fetched, TensorsWithFiles):
        return fetched.decoded(manifest.takes, pool=pool)
    return fetched.decoded(manifest.input, pool=pool)


def read_items(
    manifest: JobManifest,
    shard: ShardInput,
    *,
    jobs: JobStore,
    on_read: Callable[[int], object] = lambda _size_bytes: None,
) -> Items:
    """Fetch the items of `shard`, and decode them in this thread.

    Raises:
        InputError, StoreError: As `fetch_items` and `decode_items`.
    """
    fetched = fetch_items(manifest, shard, jobs=jobs, on_read=on_read)
    return decode_items(fetched, manifest).items


def _read_tensors(
    takes: Sequence[InputTensor], shard: ShardInput, *, fetch: Fetch
) -> Items | TensorsWithFiles:
    ref = _only_object(shard)
    # What is selected may be some of the items in it.
    count = shard.item_count if shard.selected is None else None
    stored = [FilesTensor(t.name) if t.name in shard.files else t for t in takes]
    columns = from_tensor_file(fetch(ref), stored, item_count=count, where=ref.key)
    if shard.selected is not None:
        held_count = len(columns[takes[0].name])
        if shard.positions[-1] >= held_count:
            raise InputError(
                f"{ref.key} holds {held_count} items, and the job selects item "
                f"{shard.positions[-1]}; submit the items again"
            )
        columns = {name: _selected(each, shard.positions) for name, each in columns.items()}
    if not shard.files:
        wanted = [columns[tensor.name] for tensor in takes]
        return Items.of_columns(wanted, takes=takes).without(shard.item_errors)
    names = file_names(shard, fetch=fetch)
    why = {error.index: error.reason for error in shard.item_errors}
    files = {
        name: ImageFiles(
            contents=[why.get(n, data) for n, data in enumerate(columns[name])], names=names
        )
        for name in (tensor.name for tensor in takes)
        if name in shard.files
    }
    return TensorsWithFiles(columns=columns, files=files, errors=shard.item_errors)


def _selected(column: Column, positions: Sequence[int]) -> Column:
    if isinstance(column, list):
        return [column[position] for position in positions]
    return column[positions]


def _only_object(shard: ShardInput) -> ObjectRef:
    if len(shard.objects) != 1:
        raise InputError(
            f"a shard of {shard.item_count} items names {len(shard.objects)} objects of format "
            f"{shard.format}, which needs 1; write its manifest again"
        )
    return shard.objects[0]


def _read_array(tensor: InputTensor, shard: ShardInput, *, fetch: Fetch) -> Items:
    ref = _only_object(shard)
    array = from_npy(fetch(ref), where=ref.key)
    if array.ndim and not tensor.is_open:
        fitted = fitted_shape(array.shape[1:], tensor.shape)
        array = array if fitted is None else array.reshape(len(array), *fitted)
    count = shard.item_count
    if shard.selected is not None and array.ndim:
        # At least as many as are selected.
        count = max(len(array), shard.selected[-1][-1] + 1)
    fits = array.shape[:1] == (count,) and tensor.takes(array.shape[1:])
    if not fits or array.dtype != np.dtype(tensor.numpy_dtype):
        raise InputError(
            f"{ref.key} holds {array.dtype} {array.shape}, and the job says {tensor.dtype} "
            f"{text_of([count, *tensor.shape])}; submit the items again"
        )
    rows = array if shard.selected is None else array[shard.positions]
    return Items.of_columns([rows], takes=[tensor])
