"""JSON that is nested too deep is refused before it reaches a parser."""

import io

import pytest

from fornada.errors import InputError
from fornada.formats.tables.nesting import MOST_LEVELS, ShallowJson

DEEPEST = b"[" * MOST_LEVELS + b"]" * MOST_LEVELS


def read(data: bytes, *, piece_bytes: int) -> bytes:
    stream = ShallowJson(io.BytesIO(data), where="t.jsonl")
    return b"".join(iter(lambda: stream.read(piece_bytes), b""))


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'{"a":"[[[[{{{{","b":[1]}\n' * 20,
        rb'{"a\\":"\"[\\\"{\\","b":"]]"}' + b"\n",
        rb'"\\\\\"]}"' + b"\n",
    ],
    ids=["nothing", "brackets in texts", "quotes in texts", "backslashes"],
)
def test_levels_are_counted_outside_of_texts(before: bytes, piece_bytes: int) -> None:
    fine, too_deep = before + DEEPEST, before + b'{"a":' + DEEPEST + b"}"

    assert fine == read(fine, piece_bytes=piece_bytes)
    with pytest.raises(InputError, match=r"t\.jsonl is nested more than 64 levels deep"):
        read(too_deep, piece_bytes=piece_bytes)
