"""Temporary folders, in which artifacts are unpacked, read back and made."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fornada.errors import FornadaError, LocalDiskError
from fornada.files import scratch


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone after the block, or at the next one if this process is killed.

    Raises:
        LocalDiskError: The temporary folder is full or not writable.
    """
    try:
        with scratch.scratch_folder() as folder:
            yield folder
    except FornadaError:
        # Some are errors of the system, too.
        raise
    except OSError as exc:
        raise LocalDiskError(
            f"the temporary folder {tempfile.gettempdir()} cannot take a model "
            f"({exc.strerror or exc}); free space there or set TMPDIR"
        ) from exc
