"""Modules that are not to be imported along with another: it then does without them."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def imports_blocked(names: Collection[str], *, stand_ins: Collection[str] = ()) -> Iterator[None]:
    """Have imports in the block find none of `names`, and nothing in `stand_ins`.

    Those that are imported already stay; after the block all can be imported again.

    Args:
        names: Modules whose import fails, as where they are not installed.
        stand_ins: Modules that are there and empty, for those who cannot do without.
    """
    absent: dict[str, ModuleType | None] = dict.fromkeys(names)
    absent |= {name: ModuleType(name) for name in stand_ins}
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None: "not there"
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
