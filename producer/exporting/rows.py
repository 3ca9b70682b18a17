"""What a row of an exported file says of one item: its classes, or its values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from producer.results import ShardResult

#: Values that are turned into text at a time; each takes some 200 bytes on the way.
VALUES_AT_A_TIME = 65_536

Record = Mapping[str, object]


class Rows(Protocol):
    """How the items of a job become rows; items without a result have a row that says why."""

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """The rows of a shard as JSON has them, some at a time."""
        ...

    def csv_header(self) -> list[str]:
        """Names of the columns of a CSV file."""
        ...

    def csv_row(self, record: Record) -> list[object]:
        """The same row, flat."""
        ...

    def parquet_fields(self, pa: Any) -> list[Any]:
        """Names and types of the columns of a Parquet file; `pa` is pyarrow."""
        ...

    def parquet_columns(self, part: ShardResult, pa: Any) -> Mapping[str, Any]:
        """The columns of a shard."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRows:
    """item_id, label and score, top_labels and top_scores, probabilities, error, model."""

    classes: Sequence[str]
    top_k: int
    model: str

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """As `Rows`."""
        for rows, first in _blocks(part):
            order, fine = self._order(rows)
            yield [
                {
                    "item_id": part.item_ids[first + row],
                    **self._best(order[row].tolist() if fine[row] else [], values),
                    "probabilities": values,
                    "error": part.errors.get(first + row),
                    "model": self.model,
                }
                for row, values in enumerate(_short(rows))
            ]

    def _best(self, top: list[int], values: list[float | None]) -> Record:
        return {
            "label": self.classes[top[0]] if top else None,
            "score": values[top[0]] if top else None,
            "top_labels": [self.classes[number] for number in top],
            "top_scores": [values[number] for number in top],
        }

    def csv_header(self) -> list[str]:
        """As `Rows`."""
        places = range(2, self.top_k + 1)
        top = [f"top{place}_{what}" for place in places for what in ("label", "score")]
        columns = [f"p_{name}" for name in self.classes]
        return ["item_id", "label", "score", *top, *columns, "error", "model"]

    def csv_row(self, record: Any) -> list[object]:
        """As `Rows`."""
        pairs = zip(record["top_labels"], record["top_scores"], strict=True)
        top: list[object] = [cell for pair in pairs for cell in pair]
        cells = top or [""] * (2 * self.top_k)
        values = record["probabilities"]
        return [record["item_id"], *cells, *values, record["error"], record["model"]]

    def parquet_fields(self, pa: Any) -> list[Any]:
        """As `Rows`."""
        return [
            ("item_id", pa.string()),
            ("label", pa.string()),
            ("score", pa.float32()),
            ("top_labels", pa.list_(pa.string())),
            ("top_scores", pa.list_(pa.float32())),
            ("probabilities", pa.list_(pa.float32(), len(self.classes))),
            ("error", pa.string()),
            ("model", pa.string()),
        ]

    def parquet_columns(self, part: ShardResult, pa: Any) -> Mapping[str, Any]:
        """As `Rows`."""
        order, fine = self._order(part.probabilities)
        scores = np.take_along_axis(part.probabilities, order, axis=1)
        labels = [[self.classes[number] for number in numbers] for numbers in order.tolist()]
        top = [row if fine[row] else None for row in range(len(fine))]
        flat = pa.array(part.probabilities.ravel(), from_pandas=False)
        return {
            "label": [None if row is None else labels[row][0] for row in top],
            "score": [None if row is None else scores[row, 0] for row in top],
            "top_labels": [[] if row is None else labels[row] for row in top],
            "top_scores": [[] if row is None else scores[row] for row in top],
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(self.classes)),
            **_common_columns(part, self.model),
        }

    def _order(
        self, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The best classes, int [items, top_k], and which items have any."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]
        fine: NDArray[np.bool_] = np.asarray(np.isfinite(probabilities).all(axis=1))
        return order, fine


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRows:
    """item_id, a column for each value by its name, error, model.

    Raises:
        UsageError: Two columns would have one name.
    """

    names: Sequence[str]
    model: str

    def __post_init__(self) -> None:
        columns = self.csv_header()
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UsageError(
                f"{self.model} has values named {', '.join(twice)}, as another column of the "
                "export is; take --format npy, or publish it with other names"
            )

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """As `Rows`."""
        for rows, first in _blocks(part):
            yield [
                {
                    "item_id": part.item_ids[first + row],
                    **dict(zip(self.names, values, strict=True)),
                    "error": part.errors.get(first + row),
                    "model": self.model,
                }
                for row, values in enumerate(_short(rows))
            ]

    def csv_header(self) -> list[str]:
        """As `Rows`."""
        return ["item_id", *self.names, "error", "model"]

    def csv_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        return list(record.values())

    def parquet_fields(self, pa: Any) -> list[Any]:
        """As `Rows`."""
        values = [(name, pa.float32()) for name in self.names]
        return [("item_id", pa.string()), *values, ("error", pa.string()), ("model", pa.string())]

    def parquet_columns(self, part: ShardResult, pa: Any) -> Mapping[str, Any]:
        """As `Rows`."""
        columns = {
            # A failed item has no value, in every format.
            name: pa.array(part.probabilities[:, position], from_pandas=True)
            for position, name in enumerate(self.names)
        }
        return {**columns, **_common_columns(part, self.model)}


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what has none is escaped."""
    # A lone surrogate has no UTF-8; in JSON its escape means the same.
    return text.encode("utf-8", "backslashreplace")


def _blocks(part: ShardResult) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Some rows at a time, and the position of their first."""
    step = max(1, VALUES_AT_A_TIME // part.probabilities.shape[1])
    for first in range(0, len(part.probabilities), step):
        yield part.probabilities[first : first + step], first


def _short(rows: NDArray[np.float32]) -> list[list[float | None]]:
    """The shortest numbers that read back as the same float32; `None` for NaN."""
    # As text a float32 is as short as it can be; as float64 it stays so.
    short = rows.astype(str).astype(np.float64).tolist()
    return [[value if math.isfinite(value) else None for value in row] for row in short]


def _common_columns(part: ShardResult, model: str) -> Mapping[str, Any]:
    count = len(part.probabilities)
    return {
        "item_id": [encoded(item_id).decode() for item_id in part.item_ids],
        "error": [part.errors.get(row) for row in range(count)],
        "model": [model] * count,
    }
