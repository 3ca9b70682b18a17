"""Memory that is free, back to the system."""

import ctypes
import gc


def release_memory(*, collect: bool) -> None:
    """Have the allocator return what is free.

    glibc would keep up to what `supervisor` sets for the next shards, in each of its arenas.

    Args:
        collect: Whether to free what refers to itself first, as layers of dropped models and what
            is left of tracing do. It holds up all threads for a tenth of a second or two.
    """
    if collect:
        gc.collect()
    # Other libraries have no such function.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
