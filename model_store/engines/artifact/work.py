"""What a predict call of a model costs, estimated from its layers: nothing is compiled or run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.settings import MAX_BATCH_SIZE
from fornada.tensors import InputTensor
from model_store.engines.artifact.building import output_shapes

#: Up to these sizes a call is so short that its fixed cost counts.
_LIGHT_MULTIPLICATIONS = 20_000_000
_LIGHT_WEIGHT_BYTES = 4 * 2**20
_LIGHT_ITEM_BYTES = 2**20
_LIGHT_OPERATIONS = 30
#: Multiplications in the time in which a core reads a byte of the weights, with enough margin that
#: reading them costs a tenth of a call.
_MULTIPLICATIONS_A_BYTE = 64
#: The fixed cost of a call, in bytes read.
_CALL_BYTES = 8_000_000
#: The largest output of a layer in a call: with larger ones, glibc asks the kernel for memory each
#: time.
_MOST_OUTPUT_BYTES = 32 * 2**20
_MOST_CALL_ITEMS = 64
#: The same for light models, of which larger outputs leave the caches; more rows gain 5 %, and make
#: a lone caller wait. Tiny ones wait as short with more rows, which gain a third.
_MOST_LIGHT_OUTPUT_BYTES = 4 * 2**20
_MOST_LIGHT_CALL_ITEMS = 256
_TINY_CALL_MULTIPLICATIONS = 2**26
_MOST_TINY_CALL_ITEMS = 2048
#: Of a call on a device: a millisecond of an H200, in float32. Fewer rows of a large network leave
#: parts of it idle.
_DEVICE_MULTIPLICATIONS = 8_000_000_000
_LEAST_DEVICE_ITEMS = 256
#: Items of a golden batch are compared at each load up to this many multiplications, 0.2 s.
_GOLDEN_MULTIPLICATIONS = 12_000_000_000
#: Stands for a size that differs from item to item.
_OPEN_SIZE = 256
#: Convolutions of a network without a graph mostly see the image at a quarter of its size.
_SHRINKING = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """An estimate of a model's calls, equal in every process that loads the same artifact."""

    #: Multiplications for one item.
    multiplications: int
    #: What a call reads, whatever its rows.
    weight_bytes: int
    #: The most numbers that a layer makes of one item, in float32.
    output_bytes: int
    #: Operations to trace and compile.
    operation_count: int

    @property
    def is_light(self) -> bool:
        """Whether the fixed cost of a call counts."""
        return (
            self.multiplications <= _LIGHT_MULTIPLICATIONS
            and self.weight_bytes <= _LIGHT_WEIGHT_BYTES
            and self.output_bytes <= _LIGHT_ITEM_BYTES
            and self.operation_count <= _LIGHT_OPERATIONS
        )

    def items_within(self, call_bytes: int) -> int:
        """Rows of a call on a device, a power of two.

        Enough that a call outlasts what it takes to begin it, and as few as that: of a call that
        is not full, a device computes the blank rows too.

        Args:
            call_bytes: The most bytes of a layer's output.
        """
        wanted = max(_LEAST_DEVICE_ITEMS, _DEVICE_MULTIPLICATIONS // max(1, self.multiplications))
        fitting = min(MAX_BATCH_SIZE, wanted, call_bytes // max(1, self.output_bytes))
        return 1 << max(0, fitting.bit_length() - 1)

    @property
    def call_items(self) -> int:
        """Rows of a call, a power of two: enough that it computes more than it reads weights."""
        most_bytes, most_items = _MOST_OUTPUT_BYTES, _MOST_CALL_ITEMS
        if self.is_light:
            tiny_items = _TINY_CALL_MULTIPLICATIONS // max(1, self.multiplications)
            most_bytes = _MOST_LIGHT_OUTPUT_BYTES
            most_items = max(_MOST_LIGHT_CALL_ITEMS, min(tiny_items, _MOST_TINY_CALL_ITEMS))
        read_bytes = self.weight_bytes + _CALL_BYTES
        wanted = _MULTIPLICATIONS_A_BYTE * read_bytes / max(1, self.multiplications)
        fitting = most_bytes // max(1, self.output_bytes)
        items = 1
        while items < wanted and 2 * items <= min(fitting, most_items):
            items *= 2
        return items

    def golden_items(self, tile_items: int) -> int:
        """Items of a golden batch to compare at a load, in whole tiles."""
        items = _GOLDEN_MULTIPLICATIONS // max(1, self.multiplications)
        return max(1, items // tile_items) * tile_items


def estimate(model: Any, *, takes: Sequence[InputTensor]) -> Work:
    """The work of a built Keras model, from `load_model`, that takes these inputs."""
    calls = [_Call(operation, shape) for operation, shape in output_shapes(model)]
    weight_bytes = 4 * sum(_count(weight) for weight in _read_weights(model))
    item_numbers = sum(math.prod(_sizes(tensor)) for tensor in takes)
    if not any(call.multiplications for call in calls):
        # No graph, or one of a single layer of others.
        positions = sum(map(_positions, takes))
        multiplications = weight_bytes // 4 * max(1, positions)
    else:
        multiplications = sum(call.multiplications for call in calls)
    return Work(
        multiplications=multiplications,
        weight_bytes=weight_bytes,
        output_bytes=4 * max([item_numbers, *(call.output_numbers for call in calls)]),
        operation_count=max(len(calls), sum(1 for _ in model._flatten_layers())),  # noqa: SLF001 - nested ones too
    )


def _sizes(tensor: InputTensor) -> list[int]:
    return [size or _OPEN_SIZE for size in tensor.shape]


def _positions(tensor: InputTensor) -> int:
    """Places of an item that the weights are applied to; signed integers are tokens."""
    sizes = _sizes(tensor)
    if tensor.dtype.startswith("int"):
        return math.prod(sizes)
    return math.prod(sizes[:-1]) // _SHRINKING


class _Call:
    """A call of an operation of the graph."""

    def __init__(self, operation: Any, shape: Sequence[int | None]) -> None:
        sizes = [size or _OPEN_SIZE for size in shape[1:]]
        self.output_numbers = max(math.prod(sizes), _inner_numbers(operation, sizes))
        self.multiplications = 0
        if getattr(operation, "operations", None) or _functional(operation):
            # The calls of the model in the model count.
            return
        kernels = [_count(w) for w in _read_weights(operation) if len(w.shape) > 1]
        self.multiplications = sum(kernels) * max(
            math.prod(sizes[:-1]), _sequence_length(operation, len(shape))
        )


def _inner_numbers(operation: Any, sizes: Sequence[int]) -> int:
    """The numbers of an item that a layer makes on its way, where they are more than it gives."""
    inputs = [
        [size or _OPEN_SIZE for size in tensor.shape[1:]]
        for node in operation._inbound_nodes  # noqa: SLF001 - as in `output_shapes`
        for tensor in node.input_tensors
    ]
    name = type(operation).__name__
    if name.endswith("Attention") and inputs and all(len(each) > 1 for each in inputs):
        # A score for each pair of positions.
        lengths = [math.prod(each[:-1]) for each in inputs]
        width = inputs[0][-1] if name == "AdditiveAttention" else 1
        return _heads(operation) * lengths[0] * max(lengths) * width
    if name.startswith("SeparableConv"):
        # Every channel becomes several, and then they are mixed.
        if operation.data_format == "channels_last":
            return math.prod(sizes[:-1]) * inputs[0][-1] * int(operation.depth_multiplier)
        return math.prod(sizes[1:]) * inputs[0][0] * int(operation.depth_multiplier)
    return 0


def _heads(operation: Any) -> int:
    names = ("num_query_heads", "num_heads", "_num_heads")
    return next((int(n) for name in names if (n := getattr(operation, name, None))), 1)


def _functional(operation: Any) -> Any:
    return getattr(operation, "_functional", None)


def _sequence_length(operation: Any, output_rank: int) -> int:
    """The steps of a layer that turns a sequence into its last state; else 1."""
    lengths = [
        tensor.shape[1] or _OPEN_SIZE
        for node in operation._inbound_nodes  # noqa: SLF001 - as in `output_shapes`
        for tensor in node.input_tensors
        if len(tensor.shape) > max(1, output_rank)
    ]
    return max(lengths, default=1)


def _read_weights(layer: Any) -> Iterator[Any]:
    """The weights that a call reads whole; of an embedding it reads a row for each token."""
    inner = list(getattr(layer, "_flatten_layers", list)())
    embedded = {
        id(weight)
        for part in inner
        if type(part).__name__.endswith("Embedding")
        for weight in part.weights
    }
    return (w for w in getattr(layer, "weights", ()) if id(w) not in embedded)


def _count(weight: Any) -> int:
    return math.prod(weight.shape)
