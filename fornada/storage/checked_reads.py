"""Read an object that a manifest or outcome names, and verify that it is the recorded one."""

from fornada.errors import IntegrityError, ObjectNotFoundError
from fornada.records import ObjectRef, sha256_hex
from fornada.storage.interface import ObjectStore, StoredObject


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
        return _checked(StoredObject(data=inline, etag=""), ref, remedy)
    if ref.first_byte is not None and not ref.size_bytes:
        return b""
    try:
        return _read_once(objects, ref, remedy)
    except IntegrityError:
        # Bytes can flip in transit; an object that was changed differs again.
        return _read_once(objects, ref, remedy)


def _read_once(objects: ObjectStore, ref: ObjectRef, remedy: str) -> bytes:
    try:
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
    except ObjectNotFoundError as exc:
        raise ObjectNotFoundError(f"{ref.key} is gone ({exc}); put it back, or {remedy}") from exc
    return _checked(stored, ref, remedy)


def _checked(stored: StoredObject, ref: ObjectRef, remedy: str) -> bytes:
    if len(stored.data) != ref.size_bytes:
        more = len(stored.data) > ref.size_bytes
        size = f"more than {ref.size_bytes}" if more else len(stored.data)
        raise IntegrityError(
            f"{ref.key} has {size} bytes and {ref.size_bytes} were recorded; it was changed or "
            f"truncated, {remedy}"
        )
    if ref.sha256 is not None and sha256_hex(stored.data) != ref.sha256:
        raise IntegrityError(f"{ref.key} does not match its sha256; it was changed, {remedy}")
    if ref.sha256 is None and ref.etag is not None and stored.etag != ref.etag:
        raise IntegrityError(
            f"{ref.key} was changed after it was recorded (ETag {stored.etag}, then {ref.etag}); "
            f"{remedy}"
        )
    return stored.data
