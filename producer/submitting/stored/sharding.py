"""Cut stored objects into shards; nothing is copied."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

from fornada.errors import InputError, UsageError
from fornada.formats.images import check_image_input
from fornada.formats.items import fixed_bytes
from fornada.formats.tar import Span, TarMember
from fornada.jobs.shard_inputs import ShardInput
from fornada.records import ItemError
from fornada.storage.interface import ObjectStore
from fornada.tensors import InputTensor
from fornada.trust.input_prefixes import InputPrefixes
from producer.inputs.archives import too_large
from producer.inputs.interface import Signature, StoredImages
from producer.inputs.stored_images import FoundObject, find_objects
from producer.inputs.stored_tar.members import StoredArchives
from producer.inputs.tables.images import FetchUrl
from producer.inputs.tables.interface import NO_TABLE_OPTIONS, TABLE_KINDS, TableOptions
from producer.inputs.tables.stored import url_fetcher
from producer.submitting.shards import Shard, ShardLimits, StoredArchiveShard, StoredShard
from producer.submitting.stored.arrays import array_shards, count_items
from producer.submitting.stored.tables import StoredShards, cut_tables
from producer.submitting.stored.texts import cut_texts


def cut_stored(
    stored: StoredImages,
    *,
    objects: ObjectStore,
    prefixes: InputPrefixes,
    signature: Signature,
    limits: ShardLimits,
    strict: bool = False,
    table: TableOptions = NO_TABLE_OPTIONS,
    fetch: FetchUrl | None = None,
) -> StoredShards:
    """Shards over the stored objects, in key order; archives are looked into as they are reached.

    A `.npy` object is a shard by itself: item dtype [items, *item_shape], give or take a last axis
    of 1; of many, workers look at most. Image files are one item each and share shards; those in a
    `.tar` are read by range. Sizes and ETags are recorded, so that a worker notices an object that
    changed after submission. Of Parquet tables only the footers are read; other tables, and texts,
    are copied.

    Args:
        stored: Which objects.
        objects: The store.
        prefixes: Where jobs may read.
        signature: What the model takes.
        limits: What goes into a shard.
        strict: Refuse an object of another kind, and look at every array.
        table: Which columns of tables are which inputs.
        fetch: Reads the objects that a table names; `None` for all that this process may read.

    Raises:
        UsageError: Columns are named, and there is no table.
        InputError: There are no objects, or one does not fit, is too large, or may not be read.
        StoreError: The store cannot be reached or refuses.
    """
    found = find_objects(
        stored, objects=objects, prefixes=prefixes, max_bytes=limits.file_bytes, strict=strict
    )
    return cut_found(
        found,
        stored,
        objects=objects,
        fetch=fetch or url_fetcher(objects),
        signature=signature,
        limits=limits,
        strict=strict,
        table=table,
    )


def cut_found(
    found: Sequence[FoundObject],
    stored: StoredImages,
    *,
    objects: ObjectStore,
    fetch: FetchUrl,
    signature: Signature,
    limits: ShardLimits,
    strict: bool = False,
    table: TableOptions = NO_TABLE_OPTIONS,
) -> StoredShards:
    """As `cut_stored`, over objects that were found.

    Args:
        found: The objects, at least one.
        stored: What the caller calls them, and which files of archives are meant.
        objects: The store.
        fetch: Reads the objects that a table names.
        signature: What the model takes.
        limits: What goes into a shard.
        strict: Refuse a bad row of a table that is copied.
        table: Which columns of tables are which inputs.

    Raises:
        UsageError, InputError, StoreError: As `cut_stored`.
    """
    if found[0].kind in TABLE_KINDS:
        stored.left_out.log()
        return cut_tables(
            found,
            table,
            objects=objects,
            fetch=fetch,
            signature=signature,
            limits=limits,
            strict=strict,
        )
    if table.is_given:
        raise UsageError(f"columns are for tables, and {found[0].where} is none; leave them out")
    if found[0].kind == "text":
        stored.left_out.log()
        texts = cut_texts(
            found, stored, objects=objects, signature=signature, limits=limits, strict=strict
        )
        return StoredShards(texts)
    taken = _only_input(signature, stored, found)
    arrays = [file for file in found if file.kind == "npy"]

    item_counts = count_items(
        arrays, objects=objects, taken=taken, model=signature.model, reads_all=strict
    )
    most_items = max(1, limits.file_bytes // max(1, fixed_bytes(signature.outputs)))

    archives = StoredArchives([f for f in found if f.kind == "tar"], stored, objects=objects)

    def shards_of(file: FoundObject) -> Iterator[Shard]:
        if file.kind == "npy":
            return array_shards(file, item_counts[file.info.key], most_items)
        return _archive_shards(file, archives.members(file), limits)

    runs = (
        _image_shards(run, limits) if are_images else chain.from_iterable(map(shards_of, run))
        for are_images, run in groupby(found, key=lambda file: file.kind == "image")
    )
    shards = chain.from_iterable(runs)
    return StoredShards(_at_least_one(_numbered(shards), stored, archives))


def _only_input(
    signature: Signature, stored: StoredImages, found: Sequence[FoundObject]
) -> InputTensor:
    """The input that the found images and arrays are for."""
    taken = signature.only_input(
        where=f"{stored} holds items of one input",
        remedy="give a mapping of arrays, a table, or local .npz or .safetensors files",
    )
    if taken.dtype == "string":
        raise InputError(f"{signature.model} takes texts, and {stored} means images and arrays")
    images = next((file for file in found if file.kind != "npy"), None)
    if images is not None:
        check_image_input(taken, where=images.where)
    return taken


def _at_least_one(
    shards: Iterable[Shard], stored: StoredImages, archives: StoredArchives
) -> Iterator[Shard]:
    is_empty = True
    with archives:
        for shard in shards:
            is_empty = False
            yield shard
    if is_empty:
        raise InputError(f"{stored} has no file that is included; check include and exclude")
    stored.left_out.log()


def _numbered(shards: Iterable[Shard]) -> Iterator[Shard]:
    """The shards, each part of an array with the number of the array's first item."""
    number = 0
    for shard in shards:
        if isinstance(shard, StoredShard) and shard.input.selected is not None:
            first_item = number - shard.input.positions[0]
            yield StoredShard(input=shard.input.model_copy(update={"first_item": first_item}))
        else:
            yield shard
        number += shard.item_count


def _image_shards(files: Iterable[FoundObject], limits: ShardLimits) -> Iterator[Shard]:
    run: list[FoundObject] = []
    run_bytes = 0
    for file in files:
        size_bytes = file.info.size_bytes
        if run and (len(run) == limits.item_count or run_bytes + size_bytes > limits.archive_bytes):
            yield _image_shard(run, limits)
            run, run_bytes = [], 0
        run.append(file)
        # One that is too large is not read.
        run_bytes += size_bytes if size_bytes <= limits.file_bytes else 0
    if run:
        yield _image_shard(run, limits)


def _image_shard(files: Sequence[FoundObject], limits: ShardLimits) -> Shard:
    errors = [
        ItemError(index=index, reason=too_large(file.where, limits.file_bytes))
        for index, file in enumerate(files)
        if file.info.size_bytes > limits.file_bytes
    ]
    return StoredShard(
        input=ShardInput(
            format="image",
            objects=[file.ref for file in files],
            item_count=len(files),
            item_errors=errors,
        ),
        # Keys are ids by themselves.
        item_ids=None if files[0].name is None else [file.called for file in files],
    )


def _archive_shards(
    archive: FoundObject, members: Iterable[TarMember], limits: ShardLimits
) -> Iterator[Shard]:
    run: list[TarMember] = []
    for member in members:
        # One that is too large is not read.
        size_bytes = member.span.size_bytes
        end_byte = member.span.first_byte + (size_bytes if size_bytes <= limits.file_bytes else 0)
        if run and (
            len(run) == limits.item_count
            or end_byte - run[0].span.first_byte > limits.archive_bytes
        ):
            yield _archive_shard(archive, run, limits)
            run = []
        run.append(member)
    if run:
        yield _archive_shard(archive, run, limits)


def _archive_shard(
    archive: FoundObject, members: Sequence[TarMember], limits: ShardLimits
) -> Shard:
    first_byte = members[0].span.first_byte
    spans, errors = [], []
    for index, member in enumerate(members):
        size_bytes = member.span.size_bytes
        if size_bytes > limits.file_bytes:
            why = too_large(f"{archive.where}/{member.name}", limits.file_bytes)
            errors.append(ItemError(index=index, reason=why))
            size_bytes = 0
        spans.append(Span(member.span.first_byte - first_byte, size_bytes))
    return StoredArchiveShard(
        part=archive.ref.part(first_byte, max(span.end_byte for span in spans)),
        spans=spans,
        item_ids=[f"{archive.called}/{member.name}" for member in members],
        errors=errors,
    )
