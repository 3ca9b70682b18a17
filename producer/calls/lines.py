"""What a call of `predict` gave, as the lines that a job's results have."""

import io

from producer.calls.outputs import CallResult
from producer.exporting.formats.jsonl import write_jsonl
from producer.exporting.interface import Export
from producer.item_results import ShardResult


def json_lines(result: CallResult, *, top_k: int | None = None) -> bytes:
    """A JSON object for each item, as `fornada jobs results` writes.

    Args:
        result: The outputs of the items.
        top_k: How many of the likeliest classes to list; 3 by default.

    Raises:
        UsageError: The model gives no probabilities of classes, and `top_k` is given.
    """
    gives = result.model.outputs
    part = ShardResult(
        shard=0,
        first_item=0,
        gives=list(gives),
        outputs={output.name: column for output, column in zip(gives, result.columns, strict=True)},
        item_ids=result.item_ids or [str(number) for number in range(result.item_count)],
        errors=dict(result.errors),
    )
    export = Export(
        parts=[part],
        item_count=result.item_count,
        gives=list(gives),
        model=str(result.model),
        top_k=top_k,
    )
    file = io.BytesIO()
    write_jsonl(export, file)
    return file.getvalue()
