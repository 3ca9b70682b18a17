"""The outputs of a call's items as the frame of its answer, if there is room for them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from fornada.calls.frames import (
    ANY_ID,
    MAX_ANSWER_BYTES,
    PredictAnswer,
    PredictRequest,
    answers_as_array,
    failed_rows,
    sealed_frame,
)
from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column, column_bytes, to_tensor_file
from fornada.records import JOB_VERSION, ItemError
from fornada.tensors import OutputTensor
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys


def answer_to(
    asked: PredictRequest,
    columns: Sequence[Column],
    errors: Sequence[ItemError],
    gives: Sequence[OutputTensor],
    *,
    model: str,
    deployment_keys: DeploymentKeys = NO_KEYS,
) -> bytes:
    """The frame of an answer with outputs.

    Args:
        asked: The header of the call.
        columns: A column for each output, of all items.
        errors: The items that failed.
        gives: The model's outputs.
        model: For error messages.
        deployment_keys: The first one signs.

    Raises:
        InputError: An answer has no room for them, or the call's version none for an item's error.
    """
    if errors and asked.schema_version < JOB_VERSION:
        raise InputError(f"item {errors[0].index}: {errors[0].reason}")
    check_answer(asked, sum(map(column_bytes, columns)), gives, model=model)
    outputs = _payload(columns, gives)
    is_file = isinstance(outputs, bytes)
    if is_file:
        check_answer(asked, len(outputs), gives, model=model)
    about = asked.schema_version, asked.item_count, None if is_file else gives[0].width
    if errors:
        header = _header(*about, call_id=asked.id, failed=failed_rows(errors)).to_json()
    else:
        before, after = _around_id(*about)
        header = before + asked.id.encode() + after
    return sealed_frame("answer", asked.id, header, outputs, deployment_keys)


def _header(
    schema_version: Literal[1, 3],
    item_count: int,
    output_count: int | None,
    *,
    call_id: str,
    failed: dict[str, list[list[int]]] | None = None,
) -> PredictAnswer:
    return PredictAnswer(
        schema_version=schema_version,
        id=call_id,
        item_count=item_count,
        output_count=output_count,
        format="safetensors" if output_count is None else None,
        failed=failed,
    )


@lru_cache(maxsize=256)
def _around_id(
    schema_version: Literal[1, 3], item_count: int, output_count: int | None
) -> tuple[bytes, bytes]:
    """What the header of an answer without errors has before its id, and after it."""
    header = _header(schema_version, item_count, output_count, call_id=ANY_ID)
    before, _, after = header.to_json().partition(ANY_ID.encode())
    return before, after


def check_answer(
    asked: PredictRequest, output_bytes: int, gives: Sequence[OutputTensor], *, model: str
) -> None:
    """Check that an answer has room for outputs.

    Raises:
        InputError: It has none.
    """
    if output_bytes > MAX_ANSWER_BYTES:
        raise InputError(
            f"the outputs of {asked.item_count} items of model {model} are {output_bytes} bytes, "
            f"and an answer has {MAX_ANSWER_BYTES} at most; call with fewer, or submit a job"
        )
    if asked.schema_version < JOB_VERSION and not answers_as_array(gives):
        raise InputError(
            f"model {model} gives {', '.join(map(str, gives))}, which version 1 of a call has no "
            "room for; use a newer client"
        )


def _payload(columns: Sequence[Column], gives: Sequence[OutputTensor]) -> Array | bytes:
    if answers_as_array(gives):
        return np.asarray(columns[0])
    named = {tensor.name: column for tensor, column in zip(gives, columns, strict=True)}
    return to_tensor_file(named, gives)
