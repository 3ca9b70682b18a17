"""Keep modules from being imported along with another one that can do without them."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def imports_blocked(names: Collection[str], *, stand_ins: Collection[str] = ()) -> Iterator[None]:
    """Make imports of `names` fail in the block, and imports of `stand_ins` yield empty modules.

    Modules that are imported already stay; after the block all can be imported again.

    Args:
        names: Modules whose import fails as if they were not installed.
        stand_ins: Modules whose import must succeed.
    """
    absent: dict[str, ModuleType | None] = dict.fromkeys(names)
    absent |= {name: ModuleType(name) for name in stand_ins}
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None means "not installed"
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
