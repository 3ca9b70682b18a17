"""Pack image files into tar archives, one a shard, holding one at a time."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import PurePath

from fornada.errors import InputError
from fornada.formats.images import IMAGE_SUFFIXES, decode_item
from fornada.formats.tar import TAR_END, Span, tar_header, tar_padding
from fornada.records import ItemError, sha256_hex
from producer.inputs.archives import too_large
from producer.inputs.interface import ImageFile, Signature, listed
from producer.submitting.shards import FileShard, ShardLimits


def cut_files(
    files: Iterable[ImageFile],
    *,
    first_number: int,
    signature: Signature,
    limits: ShardLimits,
    strict: bool,
) -> Iterator[FileShard]:
    """The files in archives, in order, each named by its number in the job.

    Raises:
        InputError: `strict`, and files are not items; lists them.
    """
    packing = _Packing(first_number)
    refused: list[str] = []
    for file in files:
        if len(file.data) > limits.file_bytes:
            why = too_large(file.name, limits.file_bytes)
            file = ImageFile(name=file.name, data=b"", item_id=file.item_id, error=why)  # noqa: PLW2901 - the same file
        if strict:
            refused += _why_none(file, signature)
        if refused:
            # Nothing is submitted, and the others are looked at to name them all.
            continue
        if packing.spans and (
            len(packing.spans) == limits.item_count
            or packing.size_bytes + len(file.data) > limits.archive_bytes
        ):
            yield packing.shard()
            packing = _Packing(packing.next_number)
        packing.add(file)
    if refused:
        raise InputError(listed(refused))
    if packing.spans:
        yield packing.shard()


def _why_none(file: ImageFile, signature: Signature) -> list[str]:
    """Why a file is not an item; nothing if it is one."""
    if file.error is not None:
        return [file.error]
    try:
        decode_item(file.data, taken=signature.inputs[0], where=file.name)
    except InputError as exc:
        return [str(exc)]
    return []


class _Packing:
    """An archive that is being filled."""

    def __init__(self, first_number: int) -> None:
        self._first_number = first_number
        self._archive = BytesIO()
        self._item_ids: list[str | None] = []
        self._errors: list[ItemError] = []
        self._first_name = ""
        self.spans: list[Span] = []

    @property
    def size_bytes(self) -> int:
        return self._archive.tell()

    @property
    def next_number(self) -> int:
        return self._first_number + len(self.spans)

    def add(self, file: ImageFile) -> None:
        self._first_name = self._first_name or file.name
        size_bytes = len(file.data)
        self._archive.write(tar_header(f"{self.next_number:08d}{_suffix(file.name)}", size_bytes))
        if file.error is not None:
            self._errors.append(ItemError(index=len(self.spans), reason=file.error))
        self.spans.append(Span(self._archive.tell(), size_bytes, sha256_hex(file.data)))
        self._archive.write(file.data)
        self._archive.write(tar_padding(size_bytes))
        self._item_ids.append(file.item_id)

    def shard(self) -> FileShard:
        item_ids = [item_id for item_id in self._item_ids if item_id is not None]
        if item_ids and len(item_ids) != len(self.spans):
            raise InputError(
                f"{self._first_name}: some items have item ids and some have none; give ids to all"
            )
        self._archive.write(TAR_END)
        return FileShard(
            # Without a copy.
            archive=self._archive.getvalue(),
            spans=self.spans,
            item_ids=item_ids or None,
            errors=self._errors,
        )


def _suffix(name: str) -> str:
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in IMAGE_SUFFIXES else ".img"
