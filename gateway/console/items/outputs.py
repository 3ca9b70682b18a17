"""What a model gave for one item, by the kind of each output: bars, values, pictures, boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from fornada.tensors import BINARY_CLASSES, OutputTensor
from producer.item_results import OutputResults

#: How an output is drawn on the picture of its item.
Drawn = Literal["mask", "classes", "image", "boxes", ""]

_FEW_BARS = 3
_MOST_VALUES = 256
_BOX = 4
_IMAGE_CHANNELS = 3
_MOST_BOXES = 200
_MOST_CLASSES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A class and its probability."""

    name: str
    share: float
    #: Whether it is the label, or applies.
    is_label: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """An output of one item."""

    output: OutputTensor
    #: `Shirt`, or the labels that apply; empty for other kinds.
    label: str = ""
    #: The likeliest first.
    bars: list[Bar] = field(default_factory=list)
    #: Numbers by name, or texts.
    values: list[tuple[str, Any]] = field(default_factory=list)
    #: How many more values there are.
    more: int = 0
    shape: tuple[int, ...] = ()
    drawn: Drawn = ""


def given_of(
    output: OutputTensor, row: Array, *, picture: tuple[int, int] | None, few: bool = False
) -> Given:
    """What an output says of an item.

    Args:
        output: The output.
        row: Of its dtype and shape; not of an item that failed.
        picture: Height and width of the item as the model took it, if it is an image.
        few: Leave out all but the likeliest classes and the first values.
    """
    match output.kind:
        case "probabilities" | "binary" | "multilabel":
            return _of_classes(output, row, most=_FEW_BARS if few else _MOST_CLASSES)
        case "values":
            return _with_values(output, row, list(output.columns), few=few)
    drawn = drawn_as(output, row, picture=picture)
    if drawn:
        return Given(output=output, shape=row.shape, drawn=drawn)
    if row.size > _MOST_VALUES and row.dtype.kind != "O":
        return Given(output=output, shape=row.shape, values=_spread(row))
    return _with_values(output, row, [], few=few)


def drawn_as(output: OutputTensor, row: Array, *, picture: tuple[int, int] | None) -> Drawn:
    """How an output of kind tensor is drawn on its item's picture; empty if it is not."""
    if picture is None or output.kind != "tensor" or row.dtype.kind not in "buif":
        return ""
    if row.ndim in {2, 3} and _is_of(row.shape[:2], picture):
        channels = row.shape[2] if row.ndim == 3 else 1  # noqa: PLR2004 - with channels
        if channels == 1:
            is_classes = row.dtype.kind in "iu" and row.size and int(row.max()) < _MOST_CLASSES
            return "classes" if is_classes and int(row.max()) > 1 else "mask"
        if channels == _IMAGE_CHANNELS and not _are_shares(row):
            return "image"
        return "classes" if channels <= _MOST_CLASSES else ""
    if row.ndim >= 1 and row.shape[-1] == _BOX and row.size <= _BOX * _MOST_BOXES:
        return "boxes" if "box" in output.name.lower() else ""
    return ""


def _is_of(sides: Sequence[int], picture: tuple[int, int]) -> bool:
    """Whether sides are those of the picture, or a coarser grid of the same form."""
    (height, width), (rows, columns) = picture, sides
    if min(rows, columns) < 4:  # noqa: PLR2004 - a picture has more
        return False
    return abs(rows * width - columns * height) <= max(rows, columns) and rows <= 4 * height


def _are_shares(row: Array) -> bool:
    return row.dtype.kind == "f" and bool(np.allclose(row.sum(axis=-1), 1, atol=1e-2))


def _of_classes(output: OutputTensor, row: Array, *, most: int) -> Given:
    found = OutputResults(output=output, rows=row[np.newaxis], ok=np.ones(1, np.bool_))
    label = found.labels[0]
    applies = {label} if isinstance(label, str) else set(label or ())
    shares: NDArray[Any] = found.matrix[0]
    names = list(output.columns)
    if output.kind == "binary":
        names = list(output.classes or BINARY_CLASSES)
        shares = np.array([1 - float(shares[0]), float(shares[0])])
    order = np.argsort(-shares, kind="stable")[:most]
    return Given(
        output=output,
        label=", ".join(name for name in names if name in applies) or "none of the labels",
        bars=[
            Bar(name=names[n], share=float(shares[n]), is_label=names[n] in applies) for n in order
        ],
        more=len(names) - len(order),
        shape=row.shape,
    )


def _with_values(output: OutputTensor, row: Array, names: list[str], *, few: bool) -> Given:
    flat = row.ravel().tolist()
    most = 2 * _FEW_BARS if few else _MOST_VALUES
    if not names:
        names = [""] if len(flat) == 1 else [str(n) for n in range(min(len(flat), most))]
    values = [(name, _plain(value)) for name, value in zip(names, flat, strict=False)][:most]
    return Given(output=output, values=values, more=len(flat) - len(values), shape=row.shape)


def _spread(row: Array) -> list[tuple[str, Any]]:
    numbers = row.astype(np.float64)
    return [
        ("smallest", float(numbers.min())),
        ("mean", float(numbers.mean())),
        ("largest", float(numbers.max())),
    ]


def _plain(value: Any) -> Any:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
