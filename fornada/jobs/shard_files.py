"""A shard's image files: fetched, then decoded by a pool of threads."""

import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import numpy as np

from fornada.errors import InputError, IntegrityError, MissingExtraError, ObjectNotFoundError
from fornada.formats.images import (
    DecoderPool,
    check_image_input,
    decode_item,
    has_ignored_orientation,
)
from fornada.formats.items import Array
from fornada.formats.tar import Span, parse_index, tar_members
from fornada.formats.tensor_file import Column
from fornada.jobs.items import MAX_REASON_CHARACTERS, Items
from fornada.jobs.shard_inputs import ShardInput
from fornada.parallel import all_in_parallel
from fornada.records import ItemError, ObjectRef
from fornada.tensors import InputTensor

#: Where a decoder is missing: no one else knows what each worker has.
_REMEDY = "with every worker, then run: fornada jobs retry-failed"
#: Most files of an archive to read one by one.
_MOST_SINGLE_READS = 64
#: Blocks that are decoded while their caller has one.
_BLOCKS_AHEAD = 2

#: Gives the checked bytes of an object.
Fetch = Callable[[ObjectRef], bytes]


class Decoded(NamedTuple):
    """The items of image files."""

    items: Items
    #: Photographs whose EXIF orientation the model's preprocessing ignores.
    orientations_ignored: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFiles:
    """The files of a shard's items, in order."""

    #: A file's bytes, or why they could not be read.
    contents: Sequence[bytes | memoryview | str]
    #: What error messages call them.
    names: Sequence[str]

    def decoded(self, taken: InputTensor, *, pool: DecoderPool | None) -> Decoded:
        """The items of type `taken`.

        Args:
            taken: What the model takes.
            pool: Its threads decode; without one, this thread does.

        Raises:
            InputError: The model takes no images.
        """
        return self._begun(taken, pool).decoded()

    def column(
        self, taken: InputTensor, *, pool: DecoderPool | None
    ) -> tuple[Column, list[ItemError], int]:
        """The items of type `taken`, of which those with an error hold anything.

        Also how many photographs have an orientation that is ignored.

        Raises:
            InputError: The model takes no images.
        """
        return self._begun(taken, pool).column()

    def blocks(
        self, taken: InputTensor, *, pool: DecoderPool, item_count: int
    ) -> Iterator[Decoded]:
        """The items of type `taken`, `item_count` files at a time, which count from 0 in each.

        The threads of the pool decode the next ones while the caller has some, so that no more than
        a few blocks are in memory.

        Raises:
            InputError: The model takes no images.
        """
        begun: deque[_Decoding] = deque()
        for first in range(0, len(self.contents), item_count):
            files = slice(first, first + item_count)
            block = ImageFiles(contents=self.contents[files], names=self.names[files])
            begun.append(block._begun(taken, pool))
            if len(begun) > _BLOCKS_AHEAD:
                yield begun.popleft().decoded()
        while begun:
            yield begun.popleft().decoded()

    def _begun(self, taken: InputTensor, pool: DecoderPool | None) -> "_Decoding":
        check_image_input(taken, where=self.names[0])
        # Decoded into their places, so that no image is held twice.
        shape = None if taken.is_open else (len(self.contents), *taken.fixed_shape)
        rows = None if shape is None else np.zeros(shape, taken.numpy_dtype)

        def decode(index: int) -> _Found:
            content, where = self.contents[index], self.names[index]
            if isinstance(content, str):
                return _Found(content)
            data = bytes(content)
            memory = nullcontext() if pool is None else pool.memory_for(data)
            try:
                with memory:
                    item = decode_item(data, taken=taken, where=where)
                    turned = taken.image is not None and taken.image.exif
                    ignores = not turned and has_ignored_orientation(data)
            except MissingExtraError as exc:
                return _Found(f"{exc} {_REMEDY}")
            except InputError as exc:
                return _Found(str(exc))
            if rows is None:
                return _Found(item, ignores)
            rows[index] = item
            return _Found(None, ignores)

        found: list[_Found | None] = [None] * len(self.contents)
        left = iter(range(len(self.contents)))

        def decode_rest() -> None:
            for index in left:
                found[index] = decode(index)

        if pool is None:
            decode_rest()
            return _Decoding(taken=taken, rows=rows, found=found)
        # One task a thread, not one a file, whose end would wake the thread that waits for all.
        tasks = [pool.submit(decode_rest) for _ in range(min(pool.thread_count, len(found)))]
        return _Decoding(taken=taken, rows=rows, found=found, tasks=tasks)


class _Found(NamedTuple):
    """What became of a file: its item, nothing where that is in its place, or why it has none."""

    item: Array | str | None
    ignores_orientation: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decoding:
    """Files that are being decoded."""

    taken: InputTensor
    #: The items, where all have one shape.
    rows: Array | None
    #: In the order of the files; complete once the tasks have ended.
    found: Sequence[_Found | None]
    tasks: Sequence[Future[None]] = ()

    def decoded(self) -> Decoded:
        column, errors, orientations_ignored = self.column()
        items = Items.of_columns([column], takes=[self.taken]).without(errors)
        return Decoded(items, orientations_ignored)

    def column(self) -> tuple[Column, list[ItemError], int]:
        """Wait for all; as `ImageFiles.column`."""
        for task in self.tasks:
            task.result()
        taken, found = self.taken, [each for each in self.found if each is not None]
        orientations_ignored = sum(each.ignores_orientation for each in found)
        errors = [
            ItemError(index=index, reason=item[:MAX_REASON_CHARACTERS])
            for index, (item, _) in enumerate(found)
            if isinstance(item, str)
        ]
        if self.rows is not None:
            return self.rows, errors, orientations_ignored
        blank = np.zeros([side or 1 for side in taken.shape], taken.numpy_dtype)
        items = [blank if item is None or isinstance(item, str) else item for item, _ in found]
        return items, errors, orientations_ignored


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorsWithFiles:
    """What a shard has of several inputs, some of which are image files."""

    #: An input's name -> what all items hold of it.
    columns: Mapping[str, Column]
    files: Mapping[str, ImageFiles]
    #: Items that the submitter could not read.
    errors: Sequence[ItemError]

    def decoded(self, takes: Sequence[InputTensor], *, pool: DecoderPool | None) -> Decoded:
        """The items, the files decoded as `ImageFiles.decoded` does.

        Raises:
            InputError: An input with files takes no images.
        """
        columns: list[Column] = []
        errors = list(self.errors)
        orientations_ignored = 0
        for taken in takes:
            if taken.name not in self.files:
                columns.append(self.columns[taken.name])
                continue
            column, found, ignored = self.files[taken.name].column(taken, pool=pool)
            columns.append(column)
            known = {error.index for error in errors}
            errors += [
                ItemError(index=n, reason=f"{taken.name!r}: {why}"[:MAX_REASON_CHARACTERS])
                for n, why in ((error.index, error.reason) for error in found)
                if n not in known
            ]
            orientations_ignored += ignored
        items = Items.of_columns(columns, takes=takes).without(errors)
        return Decoded(items, orientations_ignored)


def fetch_objects(shard: ShardInput, *, fetch: Fetch) -> ImageFiles:
    """The files of a shard of one object an item.

    Raises:
        InputError: It names another number of objects.
        StoreError: The store cannot be reached.
    """
    objects, positions = shard.objects, shard.positions
    wanted = shard.item_count if shard.selected is None else positions[-1] + 1
    if len(objects) < wanted or (shard.selected is None and len(objects) > wanted):
        raise _miscounted(shard, len(objects), wanted)
    unreadable = {error.index: error.reason for error in shard.item_errors}

    def content(index: int) -> bytes | str:
        if index in unreadable:
            return unreadable[index]
        try:
            return fetch(objects[positions[index]])
        except (InputError, IntegrityError, ObjectNotFoundError) as exc:
            return exc.public_text

    contents = all_in_parallel(content, range(shard.item_count))
    return ImageFiles(contents=contents, names=[objects[position].key for position in positions])


def fetch_archive(shard: ShardInput, *, fetch: Fetch) -> ImageFiles:
    """The files of a shard whose object is an archive of them.

    Raises:
        InputError: The archive or its index is damaged, or has another number of files.
        IntegrityError, ObjectNotFoundError: They have changed, or are gone.
        StoreError: The store cannot be reached.
    """
    if len(shard.objects) != 1:
        raise _miscounted(shard, len(shard.objects), 1)
    archive, index = shard.objects[0], shard.index
    spans: list[Span] | None = None
    if index is not None:
        spans = parse_index(fetch(index), archive_bytes=archive.size_bytes, where=index.key)
    contents: Sequence[bytes | memoryview]
    if spans is not None and _are_few(shard, spans):
        wanted = [spans[position] for position in shard.positions]
        parts = [archive.part(s.first_byte, s.size_bytes, sha256=s.sha256) for s in wanted]
        contents = all_in_parallel(fetch, parts)
    else:
        data = fetch(archive)
        if spans is None:
            members = tar_members(BytesIO(data), where=archive.key)
            spans = [member.span for member in members]
        view = memoryview(data)
        wanted = [spans[position] for position in _checked_positions(shard, len(spans))]
        contents = [view[span.first_byte : span.end_byte] for span in wanted]
    unreadable = {error.index: error.reason for error in shard.item_errors}
    return ImageFiles(
        contents=[unreadable.get(n, content) for n, content in enumerate(contents)],
        names=file_names(shard, fetch=fetch),
    )


def _are_few(shard: ShardInput, spans: Sequence[Span]) -> bool:
    """Whether it costs less to read the files one by one, and each can be checked."""
    archive, wanted = shard.objects[0], [spans[n] for n in _checked_positions(shard, len(spans))]
    if shard.selected is None or archive.inline is not None or len(wanted) > _MOST_SINGLE_READS:
        return False
    can_check = archive.sha256 is None or all(span.sha256 for span in wanted)
    return can_check and 2 * sum(span.size_bytes for span in wanted) < archive.size_bytes


def _checked_positions(shard: ShardInput, file_count: int) -> Sequence[int]:
    positions = shard.positions
    wanted = shard.item_count if shard.selected is None else positions[-1] + 1
    if file_count < wanted or (shard.selected is None and file_count > wanted):
        raise InputError(
            f"{shard.objects[0].key} holds {file_count} files, and the job says {wanted}; submit "
            "them again"
        )
    return positions


def file_names(shard: ShardInput, *, fetch: Fetch) -> list[str]:
    """The items' ids, else their numbers: files of an archive are numbered."""
    if shard.item_ids is not None:
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
            ids = json.loads(fetch(shard.item_ids))
            return [str(ids[position]) for position in shard.positions]
    return [f"file {position}" for position in shard.positions]


def _miscounted(shard: ShardInput, have: int, want: int) -> InputError:
    return InputError(
        f"a shard of {shard.item_count} items names {have} objects of format {shard.format}, "
        f"which needs {want}; write its manifest again"
    )
