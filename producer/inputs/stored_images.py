"""Objects that are in the store already: which ones a prefix means, and what they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from fornada.errors import (
    InputError,
    InputNotAllowedError,
    StoreCredentialsError,
    StoreRefusedError,
    UsageError,
)
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.parallel import in_parallel
from fornada.records import ObjectRef
from fornada.storage.interface import ObjectInfo, ObjectStore
from fornada.trust.input_prefixes import InputPrefixes
from fornada.trust.object_names import bucket_flaw, key_flaw
from producer.inputs.file_kinds import has_image_suffix, is_named_as_text
from producer.inputs.interface import Selection, StoredImages, listed
from producer.inputs.tables.catalog import table_kind
from producer.inputs.tables.interface import TABLE_KINDS, TableKind

_T = TypeVar("_T")

#: SageMaker's lists of objects, or lines of JSON.
_PERHAPS_LISTS = (".manifest", ".json")

StoredKind = Literal["npy", "tar", "image", "text"] | TableKind


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundObject:
    """An object to read."""

    info: ObjectInfo
    #: `None` for the deployment's own.
    bucket: str | None
    kind: StoredKind
    #: What its caller calls it, if that is not its key.
    name: str | None = None
    #: Of all of it, as its caller says.
    sha256: str | None = None

    @property
    def where(self) -> str:
        """Its address, for error messages."""
        return _where(self.info, self.bucket) if self.name is None else self.name

    @property
    def called(self) -> str:
        """Its name, or else its key."""
        return self.info.key if self.name is None else self.name

    @property
    def ref(self) -> ObjectRef:
        """A reference to it, by which a later change is noticed."""
        info = self.info
        return ObjectRef(
            key=info.key,
            bucket=self.bucket,
            size_bytes=info.size_bytes,
            sha256=self.sha256,
            etag=info.etag or None,
        )


def find_objects(
    stored: StoredImages,
    *,
    objects: ObjectStore,
    prefixes: InputPrefixes,
    max_bytes: int,
    strict: bool,
) -> list[FoundObject]:
    """The objects below the prefix that can be read, in key order.

    By its name an object is a `.npy` array, a `.tar` archive, a table, a text, or an image; by its
    first bytes, too, if the name is of no kind. Others are noted as left out, and tables and texts
    among images; hidden objects are never looked at.

    Args:
        stored: Which objects.
        objects: The store.
        prefixes: Where jobs may read.
        max_bytes: The largest array or image.
        strict: Refuse what would be left out.

    Raises:
        InputNotAllowedError: Jobs may not read some of them; lists those.
        InputError: There are none, or an array is too large.
        UsageError: No bucket or object has such a name.
        StoreError: The store cannot be reached or refuses.
    """
    stored.left_out.clear()
    _check_address(stored, prefixes)
    folder = stored.prefix.rpartition("/")[0]
    infos = [
        info
        for info in objects.list(stored.prefix, bucket=stored.bucket)
        # Consoles show a folder by means of an empty object.
        if not (info.key.endswith("/") and info.size_bytes == 0)
        and _is_meant(info.key.removeprefix(folder).lstrip("/"), stored.selection)
    ]
    if not infos:
        raise InputError(f"{stored} has no objects; check bucket and prefix")
    _check_names(infos, stored, prefixes)
    kept = []
    for info, file in zip(infos, _look_at_each(infos, objects, stored.bucket), strict=True):
        if file is not None:
            kept.append(file)
            check_size(file, max_bytes)
            continue
        where = _where(info, stored.bucket)
        stored.left_out.add(f"{where} is no image, and no .npy, .tar, table or text by its name")
    kept = _of_one_family(kept, stored)
    if stored.left_out.reasons and (strict or not kept):
        given = listed(stored.left_out.reasons, count=stored.left_out.count)
        raise InputError(f"{given}; name a prefix without such, or exclude them")
    return kept


def _of_one_family(files: list[FoundObject], stored: StoredImages) -> list[FoundObject]:
    """The files without texts, unless all are; and those without tables, unless all are."""
    texts: tuple[StoredKind, ...] = ("text",)
    for kinds, what in ((texts, "text"), (TABLE_KINDS, "table")):
        others = [file for file in files if file.kind not in kinds]
        for file in files if others else []:
            if file.kind in kinds:
                stored.left_out.add(f"{file.where} is a {what}, and others are not; name it alone")
        files = others or files
    return files


def _look_at_each(
    infos: Sequence[ObjectInfo], objects: ObjectStore, bucket: str
) -> Iterator[FoundObject | None]:
    """The objects with their kinds; `None` for each that can be no item.

    Those are read whose names leave it open.
    """

    def look(info: ObjectInfo) -> StoredKind | None:
        head = objects.get(info.key, bucket=bucket, max_bytes=HEAD_BYTES).data
        if _is_perhaps_a_list(info.key):
            return table_kind(head, info.key)
        return "image" if is_image(head) else "text" if is_named_as_text(info.key) else None

    named = [None if _is_perhaps_a_list(info.key) else kind_by_name(info.key) for info in infos]
    unclear = [info for info, kind in zip(infos, named, strict=True) if kind is None]
    found = iter(read_each(unclear, look, bucket=bucket))
    for info, by_name in zip(infos, named, strict=True):
        kind = next(found) if by_name is None else by_name
        yield None if kind is None else FoundObject(info=info, bucket=bucket, kind=kind)


def _is_perhaps_a_list(key: str) -> bool:
    return key.lower().endswith(_PERHAPS_LISTS)


def read_each(
    infos: Sequence[ObjectInfo], read: Callable[[ObjectInfo], _T], *, bucket: str | None
) -> list[_T]:
    """What `read` gives for each object.

    Raises:
        InputError: The store refuses to give some; lists those.
        StoreError: The store cannot be reached, or refuses the credentials.
    """

    def attempt(info: ObjectInfo) -> _T | StoreRefusedError:
        try:
            return read(info)
        except StoreCredentialsError:
            raise
        except StoreRefusedError as exc:
            return exc

    results, refused = [], []
    for info, result in zip(infos, in_parallel(attempt, infos), strict=True):
        if isinstance(result, StoreRefusedError):
            refused.append(f"{_where(info, bucket)} ({result.public_text})")
        else:
            results.append(result)
    if refused:
        raise InputError(f"the store gives no object {listed(refused)}")
    return results


def _check_address(stored: StoredImages, prefixes: InputPrefixes) -> None:
    flaw = bucket_flaw(stored.bucket) or (key_flaw(stored.prefix) if stored.prefix else None)
    if flaw is not None:
        raise UsageError(f"{stored} cannot be read: {flaw}")
    if prefixes.meet(stored.prefix, stored.bucket):
        return
    if not prefixes.prefixes:
        # As of a key of the gateway that was made without one.
        raise InputNotAllowedError(
            f"jobs may not read {stored}: the key has no prefix of the store; make one that has, "
            f"`fornada keys create NAME --prefix {stored}`"
        )
    fact = f"jobs may not read {stored}, only {prefixes}; copy the objects there, or"
    raise InputNotAllowedError(
        f"{fact} add their prefix to FORNADA_INPUT_PREFIXES of producers and workers"
    ).with_public_text(f"{fact} ask whoever runs the deployment to allow their prefix")


def _check_names(
    infos: Sequence[ObjectInfo], stored: StoredImages, prefixes: InputPrefixes
) -> None:
    refused = [info.key for info in infos if not prefixes.allow(info.key, stored.bucket)]
    flaws = [
        f"{key!r} ({key_flaw(key)})"
        for key in refused
        if key_flaw(key) and prefixes.meet(key, stored.bucket)
    ]
    # Names of what may not be read are not told either.
    beyond = len(refused) - len(flaws)
    if beyond:
        flaws.append(f"{beyond} outside {prefixes}")
    if flaws:
        raise InputNotAllowedError(
            f"{stored} has objects that no job can read: {listed(flaws)}; rename or exclude "
            "them, or give a prefix without them"
        )


def _is_meant(path: str, selection: Selection) -> bool:
    # The files in an archive may be meant where it is not.
    return selection.takes(path) or (kind_by_name(path) == "tar" and selection.takes_archive(path))


def kind_by_name(key: str) -> StoredKind | None:
    """What an object is by its name; `None` if that says nothing."""
    name = key.lower()
    if name.endswith(".npy"):
        return "npy"
    if name.endswith(".tar"):
        return "tar"
    return "image" if has_image_suffix(name) else table_kind(b"", name)


def check_size(file: FoundObject, max_bytes: int) -> None:
    """Check that an array fits into a shard.

    Raises:
        InputError: It does not.
    """
    # An image that is too large fails alone; an archive is read in parts.
    if file.kind == "npy" and file.info.size_bytes > max_bytes:
        raise InputError(
            f"{file.where} has {file.info.size_bytes} bytes, and a shard takes {max_bytes}; split "
            "it into smaller objects, or raise FORNADA_MAX_SHARD_BYTES"
        )


def _where(info: ObjectInfo, bucket: str | None) -> str:
    return info.key if bucket is None else f"s3://{bucket}/{info.key}"
