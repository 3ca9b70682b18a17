"""Reads of objects that others may have written: bounded, and compared with what was recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fornada.errors import IntegrityError, MessageError, ObjectNotFoundError
from fornada.files.scratch import scratch_folder
from fornada.records import ObjectRef, sha256_hex
from fornada.storage.interface import ObjectStore

_T = TypeVar("_T")


def read_bounded(objects: ObjectStore, key: str, *, most_bytes: int) -> bytes:
    """The object under `key`, which others may have written, of at most `most_bytes`.

    Raises:
        MessageError: It has more, which are not read into memory.
        ObjectNotFoundError: There is none.
    """
    data = objects.get(key, max_bytes=most_bytes + 1).data
    if len(data) > most_bytes:
        raise MessageError(f"{key} has over {most_bytes} bytes, which no record has; remove it")
    return data


def read_checked(objects: ObjectStore, ref: ObjectRef, *, remedy: str) -> bytes:
    """The bytes of `ref`, verified; inline bytes are verified without a request.

    Args:
        objects: The store.
        ref: The object, with its recorded size and digest or ETag.
        remedy: What to do if it differs, for the error message.

    Raises:
        IntegrityError: Size, digest or ETag differ in two reads.
        ObjectNotFoundError: The object is gone.
    """
    inline = ref.inline_bytes()
    if inline is not None:
        return _checked(inline, "", ref, remedy)
    if ref.first_byte is not None and not ref.size_bytes:
        return b""

    def read() -> bytes:
        if ref.first_byte is None:
            # One byte more shows that it is too large, without reading the rest into memory.
            stored = objects.get(ref.key, bucket=ref.bucket, max_bytes=ref.size_bytes + 1)
        else:
            stored = objects.get_range(
                ref.key,
                first_byte=ref.first_byte,
                size_bytes=ref.size_bytes,
                bucket=ref.bucket,
            )
        return _checked(stored.data, stored.etag, ref, remedy)

    return _twice(read, ref, remedy)


def download_checked(objects: ObjectStore, ref: ObjectRef, path: Path, *, remedy: str) -> None:
    """Write the bytes of `ref`, verified, into the file `path`; others see all of them or nothing.

    Args:
        objects: The store.
        ref: The object, with its recorded size and digest or ETag.
        path: The file; its folder exists.
        remedy: What to do if it differs, for the error message.

    Raises:
        IntegrityError: Size, digest or ETag differ in two reads.
        ObjectNotFoundError: The object is gone.
        OSError: The file cannot be written.
    """
    with scratch_folder(path.parent) as folder:
        part = folder / "part"

        def read() -> None:
            found = objects.download(ref.key, part, bucket=ref.bucket, max_bytes=ref.size_bytes + 1)
            _check(found.size_bytes, lambda: found.sha256, found.etag, ref, remedy)

        inline = ref.inline_bytes()
        if inline is None:
            _twice(read, ref, remedy)
        else:
            part.write_bytes(_checked(inline, "", ref, remedy))
        part.replace(path)


def _twice(read: Callable[[], _T], ref: ObjectRef, remedy: str) -> _T:
    try:
        try:
            return read()
        except IntegrityError:
            # Bytes can flip in transit; an object that was changed differs again.
            return read()
    except ObjectNotFoundError as exc:
        fact = f"{ref.key} is gone ({exc.public_text})"
        raise ObjectNotFoundError(f"{fact}; put it back, or {remedy}") from exc


def _checked(data: bytes, etag: str, ref: ObjectRef, remedy: str) -> bytes:
    _check(len(data), lambda: sha256_hex(data), etag, ref, remedy)
    return data


def _check(
    size_bytes: int, sha256: Callable[[], str], etag: str, ref: ObjectRef, remedy: str
) -> None:
    if size_bytes != ref.size_bytes:
        more = size_bytes > ref.size_bytes
        size = f"more than {ref.size_bytes}" if more else size_bytes
        raise IntegrityError(
            f"{ref.key} has {size} bytes and {ref.size_bytes} were recorded; it was changed or "
            f"truncated, {remedy}"
        )
    if ref.sha256 is not None and sha256() != ref.sha256:
        raise IntegrityError(f"{ref.key} does not match its sha256; it was changed, {remedy}")
    if ref.sha256 is None and ref.etag is not None and etag != ref.etag:
        raise IntegrityError(
            f"{ref.key} was changed after it was recorded (ETag {etag}, then {ref.etag}); {remedy}"
        )
