"""pyarrow: an optional package, imported once a table is read."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fornada.errors import InputError, MissingExtraError


def arrow(part: str = "") -> Any:
    """Pyarrow itself, or a part of it such as `parquet`.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError as exc:
        raise MissingExtraError(
            "tables need pyarrow, which is not installed; pip install 'fornada[tables]'"
        ) from exc


@contextmanager
def reading_table(where: str) -> Iterator[None]:
    """Translate what pyarrow raises while it reads `where`.

    Raises:
        InputError: The table is damaged.
    """
    pa = arrow()
    try:
        yield
    except pa.ArrowException as exc:
        # An OSError with a number is the disk's, and not of this class alone.
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        fact = " ".join(str(exc).split())[:200]
        remedy = "save it as UTF-8" if "invalid UTF8" in fact else "write it again"
        raise InputError(f"{where} cannot be read ({fact}); {remedy}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        # pyarrow's own errors of damaged files are plain OSErrors without a number.
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        fact = " ".join(str(exc).split())[:200]
        raise InputError(f"{where} cannot be read ({fact}); write it again") from exc
