"""Measures attempts that are computed together: the figures of their outcomes."""

from collections.abc import Callable, Sequence

from fornada.figures.shards import ShardFigures, cost_of
from fornada.jobs.items import Placed
from fornada.records import JOB_VERSION, ObjectRef
from worker.shards.phases import Begun


class Meter:
    """What attempts take; those of a bundle share the CPU time by their items."""

    def __init__(
        self,
        attempts: Sequence[Begun],
        *,
        cpu_s: Callable[[], float],
        price_per_cpu_hour: float | None,
    ) -> None:
        """Measure `attempts`.

        Args:
            attempts: Computed together.
            cpu_s: The CPU seconds of all of them so far.
            price_per_cpu_hour: What an hour of it costs, if that is known.
        """
        self._attempts = attempts
        self._cpu_s = cpu_s
        self._price_per_cpu_hour = price_per_cpu_hour
        self._read: list[list[int]] = [[] for _ in attempts]

    def reader(self, number: int) -> Callable[[int], None]:
        """Called with the size of what attempt `number` has read; from any thread."""
        # A list takes it as one step, where a sum would lose some.
        return self._read[number].append

    def figures(
        self, placed: Sequence[Placed], stored: Sequence[ObjectRef]
    ) -> list[ShardFigures | None]:
        """The figures of each attempt; `None` where its outcome has no room for them.

        Args:
            placed: The outputs of each.
            stored: Its result.
        """
        cpu_s = self._cpu_s() / sum(attempt.item_count for attempt in self._attempts)
        return [
            self._of(attempt, outputs, data, sum(read), cpu_s * attempt.item_count)
            for attempt, outputs, data, read in zip(
                self._attempts, placed, stored, self._read, strict=True
            )
        ]

    def _of(
        self, attempt: Begun, placed: Placed, data: ObjectRef, bytes_in: int, cpu_s: float
    ) -> ShardFigures | None:
        if attempt.manifest.schema_version < JOB_VERSION:
            return None
        return ShardFigures.of(
            placed.columns,
            attempt.manifest.gives,
            placed.errors,
            cpu_s=round(cpu_s, 6),
            bytes_in=bytes_in,
            bytes_out=data.size_bytes,
            cost=cost_of(cpu_s, self._price_per_cpu_hour),
        )
