"""What a file looks like that is none of ours, in words that show nothing of what is in it.

These words stand in log lines, and no log shows what was submitted.
"""

_KINDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"%PDF",), "a PDF"),
    ((b"PK\3\4", b"PK\5\6"), "a .zip archive"),
    ((b"\x1f\x8b",), "a .gz file"),
    ((b"\x89HDF",), "HDF5"),
    ((b"\x93NUMPY",), ".npy"),
    ((b"PAR1",), "Parquet"),
    ((b"<",), "HTML or XML"),
    ((b"{", b"["), "JSON"),
)


def look_of(head: bytes) -> str:
    """What kind of file begins with `head`, as far as anyone can tell."""
    if not head:
        return "it is empty"
    for beginnings, kind in _KINDS:
        if head.startswith(beginnings):
            return f"it looks like {kind}"
    if not any(head):
        return "it begins with zeros"
    is_text = head.isascii() and head.replace(b"\n", b"").replace(b"\t", b"").decode().isprintable()
    return "it looks like text" if is_text else "its first bytes are of no known kind"
