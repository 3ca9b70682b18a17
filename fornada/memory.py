"""Memory that dropped models held, back to the system."""

import ctypes
import gc


def release_memory(*, dropped: bool) -> None:
    """Have the allocator return what is free.

    glibc would keep up to what `supervisor` sets for the next shards, in each of its arenas.

    Args:
        dropped: Whether models were dropped, whose layers refer to each other.
    """
    if dropped:
        gc.collect()
    # Other libraries have no such function.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
