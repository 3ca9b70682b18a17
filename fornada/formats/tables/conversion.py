"""Rows of a table as items: each input's columns as one array, and the rows that are no items."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images import decode_item
from fornada.formats.items import Array
from fornada.formats.tables.arrow import arrow
from fornada.formats.tables.binding import TableBinding, is_list, kind_of, width_of
from fornada.formats.tables.cells import Fitted, fitted_numbers, texts_of
from fornada.formats.tensor_file import Column
from fornada.tensors import InputTensor

#: Of a reason, which has the names of columns and texts of cells.
_REASON_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class TableItems:
    """The items in some rows of a table."""

    #: For each input an array [rows, *its shape], or an array a row where its shape is open.
    columns: list[Column]
    #: Row without an item -> why; the columns hold anything there.
    errors: dict[int, str]


def table_items(
    batch: Any,
    binding: TableBinding,
    takes: Sequence[InputTensor],
    *,
    parsed: frozenset[str] = frozenset(),
    files: Collection[str] = (),
) -> TableItems:
    """The items in a record batch, whose columns `check_types` has checked.

    A value that is missing or does not fit costs its row: null, unless the input has `fill` or
    takes NaN; a number out of the dtype's range; a list of another length.

    Args:
        batch: A `pyarrow.RecordBatch`.
        binding: Which of its columns are which inputs.
        takes: The model's inputs.
        parsed: Columns of text whose numbers are parsed.
        files: Inputs whose columns are image files that stay as they are: `bytes`, empty for null.
    """
    columns: list[Column] = []
    errors: dict[int, str] = {}
    for tensor in takes:
        reader = _Reader(tensor=tensor, parsed=parsed)
        cells = {name: _plain(batch.column(name)) for name in binding.columns[tensor.name]}
        if tensor.name in files:
            columns.append(reader.files(cells))
        else:
            columns.append(reader.column(cells, batch.num_rows))
        errors = {**reader.errors, **errors}
    return TableItems(
        columns=columns, errors={row: why[:_REASON_CHARACTERS] for row, why in errors.items()}
    )


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Reads the columns of one input."""

    tensor: InputTensor
    parsed: frozenset[str]
    errors: dict[int, str] = field(default_factory=dict)

    def column(self, cells: Mapping[str, Any], row_count: int) -> Column:
        name, first = next(iter(cells.items()))
        if len(cells) == 1 and self.tensor.image is not None and kind_of(first.type) == "bytes":
            return self._each(first, name, self._decoded)
        if len(cells) == 1 and is_list(first.type):
            if is_list(_plain(first.flatten()).type) or (
                self.tensor.is_open and (len(self.tensor.shape) > 1 or self._is_text)
            ):
                return self._each(first, name, self._nested)
            return self._lists(first, name)
        # Values side by side.
        rows = np.zeros((row_count, len(cells)), self.tensor.numpy_dtype)
        for at, (each, values) in enumerate(cells.items()):
            fitted = self._fitted(values, each)
            rows[:, at] = fitted.values
            self._note(fitted.errors)
        return rows.reshape(row_count, *self.tensor.fixed_shape)

    def files(self, cells: Mapping[str, Any]) -> Column:
        """The image files of a column of bytes, as they are; rows of one file share its bytes."""
        ((name, values),) = cells.items()
        held = values if arrow("types").is_dictionary(values.type) else values.dictionary_encode()
        known: dict[int | None, bytes | None] = {None: None}
        found = np.empty(len(values), object)
        for row, at in enumerate(held.indices.to_pylist()):
            if at not in known:
                known[at] = held.dictionary[at].as_py()
            data = known[at]
            found[row] = data or b""
            if data is None:
                self.errors.setdefault(row, f"null in {name!r}")
        return found

    @property
    def _is_text(self) -> bool:
        return self.tensor.dtype == "string"

    def _fitted(self, values: Any, name: str) -> Fitted:
        if self._is_text:
            return texts_of(values, name)
        return fitted_numbers(values, self.tensor, name, is_parsed=name in self.parsed)

    def _lists(self, lists: Any, name: str) -> Column:
        """Lists of values, as rows of one width or, where that varies, as arrays."""
        pc = arrow("compute")
        null = _mask(lists.is_null())
        lengths = np.asarray(pc.list_value_length(lists).fill_null(0), np.int64)
        width = width_of(self.tensor)
        good = ~null
        if width is not None:
            good &= lengths == width
        for row in np.flatnonzero(~good).tolist():
            self.errors.setdefault(
                row,
                f"null in {name!r}"
                if null[row]
                else f"{lengths[row]} values in {name!r}, and the model takes {width}",
            )
        kept = lists if good.all() else lists.filter(arrow().array(good))
        places, sizes = np.flatnonzero(good), lengths[good]
        fitted = self._fitted(_plain(kept.flatten()), name)
        ends = np.cumsum(sizes)
        self._note(
            {int(places[np.searchsorted(ends, n, "right")]): w for n, w in fitted.errors.items()}
        )
        if width is not None:
            rows = np.zeros((len(lists), *self.tensor.fixed_shape), self.tensor.numpy_dtype)
            rows[places] = fitted.values.reshape(len(places), *self.tensor.fixed_shape)
            return rows
        found = self._blanks(len(lists))
        starts = ends - sizes
        for row, start, end in zip(places.tolist(), starts.tolist(), ends.tolist(), strict=True):
            found[row] = fitted.values[start:end]
        return found

    def _each(self, values: Any, name: str, read: Callable[[Any, str], Array]) -> Column:
        """Values of which each is read alone."""
        found = self._blanks(len(values))
        for row, value in enumerate(values):
            try:
                if not value.is_valid:
                    raise InputError(f"null in {name!r}")  # noqa: TRY301 - as of other rows
                found[row] = read(value, name)
            except (InputError, MissingExtraError) as exc:
                self.errors.setdefault(row, str(exc))
        return found if self.tensor.is_open else np.stack(found) if found else self._no_rows()

    def _no_rows(self) -> Array:
        return np.zeros((0, *self.tensor.fixed_shape), self.tensor.numpy_dtype)

    def _decoded(self, value: Any, name: str) -> Array:
        return decode_item(value.as_py(), taken=self.tensor, where=f"the image in {name!r}")

    def _nested(self, value: Any, name: str) -> Array:
        """A list of lists, of the input's shape."""
        leaf, sides = _plain(value.values), [len(value.values)]
        while is_list(leaf.type):
            inner = np.asarray(arrow("compute").list_value_length(leaf).fill_null(-1))
            if len({*inner.tolist()}) > 1 or (inner < 0).any():
                raise InputError(f"lists of several lengths, or null, in {name!r}")
            sides.append(int(inner[0]) if len(inner) else 0)
            leaf = _plain(leaf.flatten())
        if not self.tensor.takes(sides):
            raise InputError(f"{name!r} has shape {sides}, and the model takes {self.tensor}")
        fitted = self._fitted(leaf, name)
        if fitted.errors:
            raise InputError(next(iter(fitted.errors.values())))
        return fitted.values.reshape(sides)

    def _blanks(self, count: int) -> list[Array]:
        blank = np.zeros(self.tensor.fixed_shape, self.tensor.numpy_dtype)
        return [blank] * count

    def _note(self, errors: Mapping[int, str]) -> None:
        for row, why in errors.items():
            self.errors.setdefault(row, why)


def _plain(values: Any) -> Any:
    """The values of an extension type, such as tensors, as what they are stored as."""
    return getattr(values, "storage", values)


def _mask(values: Any) -> NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def id_texts(
    values: Any, unread: Mapping[int, str] = MappingProxyType({}), *, first_row: int, where: str
) -> list[str]:
    """The ids in a column: text, whole numbers, or dates.

    Args:
        values: The column.
        unread: Row that could not be read -> what stands for its id.
        first_row: Of the column, in its table.
        where: For error messages.

    Raises:
        InputError: A row has none.
    """
    pc, pa = arrow("compute"), arrow()
    ids: list[str | None] = pc.cast(_plain(values), pa.string()).to_pylist()
    for row, item_id in unread.items():
        ids[row] = item_id
    if None in ids:
        raise InputError(f"{where}: row {first_row + ids.index(None)} has no id; give it one")
    return [item_id for item_id in ids if item_id is not None]
