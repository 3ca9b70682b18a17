"""A block of JSON lines: read at once where each is good, otherwise in ever smaller parts."""

import io
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from fornada.errors import InputError
from fornada.formats.tables.arrow import arrow
from fornada.formats.tables.nesting import MOST_LEVELS, ShallowJson

_BLOCK_BYTES = 4 * 1024 * 1024
#: A longer line is no row of a table.
_LINE_BYTES = 2 * _BLOCK_BYTES
_PARSER_SAYS = re.compile(r"JSON parse error: (?P<fact>.*?)\.?(?: in row \d+)?")
_OTHER_THAN_OBJECT = re.compile(r"Column\(\) changed from object to (?P<kind>\w+)")


class JsonBlock(NamedTuple):
    """Whole lines of a file."""

    data: bytes
    #: Number of its first line; a file's first is 1.
    line: int


class BadLine(NamedTuple):
    """A line that is no row."""

    #: `line 7`.
    place: str
    #: Names the place, too.
    why: str


def json_blocks(stream: IO[bytes], *, where: str) -> Iterator[JsonBlock]:
    """The lines of a stream, some megabytes at a time.

    Raises:
        InputError: A line is too long.
    """
    line, rest = 1, b""
    while more := stream.read(_BLOCK_BYTES):
        data = rest + more
        end = data.rfind(b"\n") + 1
        if len(data) - end > _LINE_BYTES:
            number = line + data.count(b"\n")
            raise InputError(
                f"{where}: line {number} is longer than {_LINE_BYTES} bytes; write one object a "
                "line, and large ones as Parquet"
            )
        block, rest = data[:end], data[end:]
        if block:
            yield JsonBlock(block, line)
        line += block.count(b"\n")
    if rest:
        yield JsonBlock(rest, line)


def block_parts(block: JsonBlock, schema: Any) -> Iterator[Any]:
    """The rows of a block, in order: a `pyarrow.Table` of each run of good ones, and `BadLine`s.

    Args:
        block: Whole lines; empty ones are no rows.
        schema: Which columns to read; `None` for all, whose types each run decides.
    """
    data, line = block
    if not data.strip():
        return
    try:
        yield _table(data, schema, line)
    except _refusals() as exc:
        middle = len(data) // 2
        cut = data.find(b"\n", middle, len(data) - 1) + 1 or data.rfind(b"\n", 0, middle) + 1
        if not cut:
            yield BadLine(f"line {line}", _why(exc, line))
            return
        yield from block_parts(JsonBlock(data[:cut], line), schema)
        yield from block_parts(JsonBlock(data[cut:], line + data.count(b"\n", 0, cut)), schema)


def _refusals() -> tuple[type[Exception], ...]:
    pa = arrow()
    by_arrow = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
    return InputError, UnicodeDecodeError, *by_arrow


def _table(data: bytes, schema: Any, line: int) -> Any:
    json = arrow("json")
    # Its parser overflows the stack, which ends the process.
    if data.count(b"[") + data.count(b"{") > MOST_LEVELS:
        ShallowJson(io.BytesIO(data), where=f"line {line}").read(len(data))
    others = "infer" if schema is None else "ignore"
    parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others)
    read = json.ReadOptions(block_size=len(data) + 1, use_threads=False)
    # Of a line alone, `read_json` takes four times as long.
    buffer = arrow().BufferReader(data)
    table = json.open_json(buffer, read_options=read, parse_options=parse).read_all()
    # Where names are not UTF-8, this raises.
    table.column_names  # noqa: B018
    return table


def _why(exc: Exception, line: int) -> str:
    if isinstance(exc, InputError):
        return str(exc)
    said = " ".join(str(exc).split())[:200]
    parser = _PARSER_SAYS.fullmatch(said)
    fact = said if parser is None else parser["fact"]
    other = _OTHER_THAN_OBJECT.fullmatch(fact)
    if other is not None:
        article = "an" if other["kind"] == "array" else "a"
        return f"line {line} is no JSON object: it is {article} {other['kind']}"
    if parser is None or fact.startswith("Column("):
        return f"line {line} cannot be read ({fact})"
    return f"line {line} is not JSON: {fact}"
