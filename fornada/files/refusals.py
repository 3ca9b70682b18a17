"""What helps when the file system refuses to write."""

import errno
import os

_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def what_helps(exc: OSError) -> str:
    """The remedy for a path that cannot be written: who needs the right, or what is in the way."""
    if exc.errno in _IS_FULL:
        return "free space there"
    if isinstance(exc, PermissionError):
        return f"let user {os.geteuid()} write there"
    if exc.errno == errno.EROFS:
        return "mount it writable"
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return "make its folder first"
    return "check the disk"
