"""Results as data frames of pandas."""

from typing import Any

import numpy as np

from fornada.errors import MissingExtraError
from producer.exporting.cells import Cells, plain_cells
from producer.exporting.rows import Rows
from producer.item_results import ItemResults


def to_pandas(rows: Rows, part: ItemResults) -> Any:
    """The rows of some items as a `pandas.DataFrame`, whose index are their ids.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd  # type: ignore[import-untyped] # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "to_pandas needs pandas, which is not installed; pip install pandas"
        ) from exc
    _, *names = (column.name for column in rows.columns)
    item_ids, *columns = rows.cells(part)
    data = {name: _series(cells, pd) for name, cells in zip(names, columns, strict=True)}
    return pd.DataFrame(data, index=pd.Index(item_ids.values, name="item_id", dtype=object))


def _series(cells: Cells, pd: Any) -> Any:
    values, missing, *_ = cells
    if cells.texts is not None or cells.lengths is not None:
        return pd.Series(plain_cells(cells), dtype=object).to_numpy()
    if not isinstance(values, np.ndarray):
        return pd.Series(values, dtype=object).to_numpy()
    if values.ndim > 1:
        gone = np.zeros(len(values), np.bool_) if missing is None else missing
        series = np.empty(len(values), object)
        for row in np.flatnonzero(~gone).tolist():
            series[row] = values[row]
        return series
    if missing is None:
        return values
    # Whole numbers have no NaN, and pandas dtypes that have one are called Int64 for int64.
    name = (
        values.dtype.name.replace("uint", "UInt").replace("int", "Int").replace("bool", "boolean")
    )
    plain = [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
    return pd.array(plain, dtype=name)
