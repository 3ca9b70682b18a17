"""What a shard took and gave, and the sum over the shards of a job."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from fornada.figures.predictions import OutputFigures, predicted_by
from fornada.formats.tensor_file import Column
from fornada.records import MOST_COUNT, Count, ItemError, Record
from fornada.tensors import MAX_TENSORS, OutputTensor, TensorName

_S_PER_HOUR = 3600
#: More than any sum over MAX_SHARDS shards needs, and finite however many forged ones are added.
_MOST_CPU_S, _MOST_COST = 1e12, 1e15


class ShardFigures(Record):
    """What a shard took and gave, as its worker measured it."""

    #: CPU seconds of the worker process; of shards at work at the same time, an equal share each.
    cpu_s: float = Field(ge=0, le=_MOST_CPU_S)
    #: Bytes of inputs that were read, those of the manifest too.
    bytes_in: Count
    #: Bytes of the result.
    bytes_out: Count
    #: `cpu_s` at the worker's price; absent if it has none.
    cost: float | None = Field(ge=0, le=_MOST_COST, default=None)
    #: By the name of each output that names classes.
    predicted: dict[TensorName, OutputFigures] = Field(default_factory=dict, max_length=MAX_TENSORS)

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        gives: Sequence[OutputTensor],
        errors: Sequence[ItemError],
        **work: Any,
    ) -> "ShardFigures":
        """The figures of a shard.

        Args:
            columns: Its outputs.
            gives: What they are.
            errors: Its items without a result.
            **work: The other fields.
        """
        failed = [error.index for error in errors]
        found = {
            output.name: predicted_by(column, output, failed=failed)
            for column, output in zip(columns, gives, strict=True)
        }
        predicted = {name: each for name, each in found.items() if each is not None}
        return cls(predicted=predicted, **work)


class JobFigures(ShardFigures):
    """The sum over the shards of a job that have figures."""

    #: How many have: not dead ones, nor those of workers of an older release.
    shards: Annotated[Count, Field(ge=1)]

    @classmethod
    def sum_of(cls, sums: "JobFigures | None", figures: ShardFigures) -> "JobFigures":
        """The sums with the figures of one more shard."""
        if sums is not None:
            return sums.plus(figures)
        return cls(shards=1, **{name: getattr(figures, name) for name in ShardFigures.model_fields})

    def plus(self, figures: ShardFigures) -> "JobFigures":
        """The figures with those of one more shard; they have a cost only if all have one."""
        cost = None
        if self.cost is not None and figures.cost is not None:
            cost = min(self.cost + figures.cost, _MOST_COST)
        predicted = dict(self.predicted)
        for name, each in figures.predicted.items():
            predicted[name] = predicted[name].plus(each) if name in predicted else each
        return JobFigures(
            shards=self.shards + 1,
            cpu_s=min(self.cpu_s + figures.cpu_s, _MOST_CPU_S),
            bytes_in=min(self.bytes_in + figures.bytes_in, MOST_COUNT),
            bytes_out=min(self.bytes_out + figures.bytes_out, MOST_COUNT),
            cost=cost,
            predicted=predicted,
        )


def fitting(figures: ShardFigures, gives: Sequence[OutputTensor]) -> ShardFigures:
    """The figures without predictions that are of no such outputs.

    Whoever can write to the store may have written them.
    """
    outputs = {output.name: output for output in gives}
    predicted = {
        name: each
        for name, each in figures.predicted.items()
        if name in outputs and each.fits(outputs[name])
    }
    return figures.model_copy(update={"predicted": predicted})


def cost_of(cpu_s: float, price_per_cpu_hour: float | None) -> float | None:
    """The cost of CPU seconds; `None` without a price."""
    return None if price_per_cpu_hour is None else cpu_s * price_per_cpu_hour / _S_PER_HOUR
