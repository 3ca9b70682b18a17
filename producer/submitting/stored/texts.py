"""Texts in the store as items of a model of strings; they are copied through this process."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fornada.errors import InputError
from fornada.parallel import in_parallel
from fornada.storage.interface import ObjectStore
from producer.inputs.interface import ItemBlock, Signature, StoredImages
from producer.inputs.stored_images import FoundObject
from producer.inputs.tables.stored import object_opener
from producer.inputs.text_files import text_lines, whole_text
from producer.submitting.sharding import cut
from producer.submitting.shards import Shard, ShardLimits


def cut_texts(
    files: Sequence[FoundObject],
    stored: StoredImages,
    *,
    objects: ObjectStore,
    signature: Signature,
    limits: ShardLimits,
    strict: bool,
) -> Iterator[Shard]:
    """Shards of the lines of an object that is named itself, or of objects below a prefix.

    Args:
        files: The objects, at least one.
        stored: What the caller calls them.
        objects: The store.
        signature: What the model takes.
        limits: What goes into a shard.
        strict: Refuse a text that is not UTF-8, or too large.

    Raises:
        InputError: The model takes no texts alone, or strings of another shape.
        StoreError: The store cannot be reached or refuses.
    """
    where = f"{files[0].where} holds texts"
    taken = signature.only_input(where=where, remedy="give a table with a column for each")
    if taken.dtype != "string":
        raise InputError(
            f"{where}, and {signature.model} takes {taken}; give numbers as .npy or a table"
        )

    def whole(file: FoundObject) -> ItemBlock:
        opened = object_opener(file, objects=objects)
        most_bytes, model = limits.file_bytes, signature.model
        block = whole_text(opened, taken, max_file_bytes=most_bytes, model=model, where=file.where)
        return replace(block, item_ids=[file.called])

    if [file.info.key for file in files] == [stored.prefix]:
        blocks: Iterator[ItemBlock] = text_lines(
            object_opener(files[0], objects=objects),
            taken,
            max_line_bytes=limits.file_bytes,
            model=signature.model,
            where=files[0].where,
        )
    else:
        blocks = in_parallel(whole, files)
    return cut(blocks, signature=signature, limits=limits, strict=strict)
