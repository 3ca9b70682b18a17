"""Nested lists: whether they hold texts, which no array of one width may be made of."""

#: NumPy's arrays have no more axes.
_MOST_AXES = 64


def holds_texts(value: object, *, axes: int = _MOST_AXES) -> bool:
    """Whether nested lists hold a text or bytes, at whatever depth.

    Of one long text among many short ones NumPy makes an array in which each is as wide as that:
    100 KB of JSON become gigabytes.
    """
    if not isinstance(value, list | tuple):
        return isinstance(value, str | bytes)
    kinds = set(map(type, value))
    if any(issubclass(kind, str | bytes) for kind in kinds):
        return True
    if not axes or not any(issubclass(kind, list | tuple) for kind in kinds):
        return False
    return any(holds_texts(part, axes=axes - 1) for part in value)
