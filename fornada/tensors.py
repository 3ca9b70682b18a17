"""The named tensors that a model takes and gives, as manifests of models and jobs state them."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from fornada.errors import UsageError
from fornada.records import JOB_VERSION, Count, Record, Task

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: The most sides of one item, as NumPy's before version 2.
MAX_SIDES = 32
#: Sides of one item, without the leading axis; `None` where they vary.
Shape = Annotated[list[Count | None], Field(max_length=MAX_SIDES)]
Dtype = Literal[
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "string",
]
Kind = Literal["probabilities", "binary", "multilabel", "values", "embedding", "tensor"]
Resize = Literal["stretch", "crop", "pad", "none"]
Interpolation = Literal["bilinear", "nearest", "bicubic", "lanczos", "area"]
Color = Literal["rgb", "grayscale", "rgba"]
#: Whose pixels an image has: those of `keras.utils.image_dataset_from_directory`, of
#: `keras.utils.load_img`, or of Fornada before it resized images.
ImageLoader = Literal["image_dataset_from_directory", "load_img", "exact"]

#: The most inputs, and the most outputs, of a model.
MAX_TENSORS = 64
#: Classes of a binary output whose publisher names none.
BINARY_CLASSES = ("0", "1")


class ImagePreprocessing(Record):
    """How an image file becomes an item; the input's shape says the size."""

    #: `stretch` ignores the aspect ratio, `crop` cuts the middle out, `pad` adds black bars,
    #: `none` takes only images of the right size, or of any size where the shape is open.
    resize: Resize = "stretch"
    interpolation: Interpolation = "bilinear"
    #: Whether shrinking averages over all pixels, as `tf.image.resize(antialias=True)`.
    antialias: bool = False
    #: Whether a photograph is turned upright as its EXIF orientation says.
    exif: bool = False
    color: Color = "rgb"
    like: ImageLoader = "image_dataset_from_directory"

    def __str__(self) -> str:
        """`rgb like image_dataset_from_directory, stretch, bilinear, EXIF orientation ignored`."""
        resize = (
            "never resized"
            if self.resize == "none"
            else f"{self.resize}, {self.interpolation}{' with antialias' if self.antialias else ''}"
        )
        turned = "turned as EXIF says" if self.exif else "EXIF orientation ignored"
        return f"{self.color} like {self.like}, {resize}, {turned}"


class InputTensor(Record):
    """One input of a model."""

    name: TensorName
    dtype: Dtype
    shape: Shape
    #: How image files become items; absent if items are not images.
    image: ImagePreprocessing | None = None
    #: Whether an item with NaN or infinity fails.
    finite: bool = True
    #: Replaces NaN and null in items; absent if they fail an item.
    fill: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether a side of an item may vary."""
        return None in self.shape

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an item may have this shape."""
        return takes(shape, self.shape)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of every item; empty sides where they vary."""
        return tuple(side or 0 for side in self.shape)

    @property
    def numpy_dtype(self) -> str:
        """The dtype in arrays."""
        return array_dtype(self.dtype)

    def __str__(self) -> str:
        """`uint8 [28, 28]`; `null` where a side varies."""
        return f"{self.dtype} {text_of(self.shape)}"


class OutputTensor(Record):
    """One output of a model."""

    name: TensorName
    #: dtype of the stored results.
    dtype: Dtype = "float32"
    shape: Shape
    kind: Kind
    #: Names of the classes, two of them if it is binary; or of the values.
    classes: list[str] | None = Field(min_length=1, default=None)
    #: Probability from which a class applies, for kinds `binary` and `multilabel`.
    threshold: float | None = Field(ge=0, le=1, default=None)
    #: Whether an item with NaN or infinity among its outputs fails.
    finite: bool = True

    @model_validator(mode="after")
    def _names_its_classes(self) -> Self:
        named = {"binary": 2, "embedding": None, "tensor": None}.get(self.kind, self.width)
        if self.classes is not None and len(self.classes) != named:
            raise ValueError(
                f"{self.kind} of shape {text_of(self.shape)} has {named or 'no'} classes, "
                f"not {len(self.classes)}"
            )
        return self

    def __str__(self) -> str:
        """`probabilities of 10 classes`."""
        match self.kind:
            case "binary":
                no, yes = self.classes or BINARY_CLASSES
                return f"the probability of {yes} against {no}, threshold {self.threshold}"
            case "probabilities":
                return f"probabilities of {self.width} classes"
            case "multilabel":
                return f"{self.width} labels that apply together, threshold {self.threshold}"
            case "values":
                return f"{self.width} value{'s' * (self.width != 1)}"
            case "embedding":
                return f"an embedding of {self.width} numbers"
        return f"{self.dtype} {text_of(self.shape)}"

    @property
    def width(self) -> int:
        """Numbers of an item."""
        return math.prod(side or 0 for side in self.shape)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of an item's numbers; empty for a single number."""
        return tuple(side or 0 for side in self.shape)

    @property
    def is_open(self) -> bool:
        """Whether a side of an item's numbers may vary."""
        return None in self.shape

    @property
    def numpy_dtype(self) -> str:
        """The dtype in arrays."""
        return array_dtype(self.dtype)

    @property
    def columns(self) -> list[str]:
        """A name for each number of an item: classes, values, or running numbers."""
        if self.kind == "binary":
            return [(self.classes or BINARY_CLASSES)[1]]
        return self.classes or [str(number) for number in range(self.width)]

    @property
    def least_probability(self) -> float:
        """Probability from which a class applies."""
        return 0.5 if self.threshold is None else self.threshold

    @property
    def task(self) -> Task:
        """What manifests before schema version 3 call it."""
        return "classification" if self.kind in CLASS_KINDS else "regression"


_TensorT = TypeVar("_TensorT", InputTensor, OutputTensor)

#: Kinds whose outputs name classes.
CLASS_KINDS = ("probabilities", "binary", "multilabel")
#: Kinds that a threshold decides.
THRESHOLD_KINDS = ("binary", "multilabel")

_COLORS: dict[int, Color] = {1: "grayscale", 3: "rgb", 4: "rgba"}
#: Items of two axes are images from this size on, with at most that ratio of their sides; others
#: are sequences of vectors.
_MIN_GREY_SIDE, _MAX_GREY_RATIO = 8, 2


def default_image(shape: Shape) -> ImagePreprocessing | None:
    """The default way of image files to items of `shape`; `None` if items are not images.

    Images are stretched to the model's size as `keras.utils.image_dataset_from_directory` does;
    where a side is open, they keep their own. A shape is that of images if it is height, width
    and 1, 3 or 4 channels, or two sides without channels that are neither small nor far apart.
    """
    match shape:
        case [_, _, (1 | 3 | 4) as channels]:
            color = _COLORS[channels]
        case [None, None]:
            color = "grayscale"
        case [int() as height, int() as width] if min(height, width) >= _MIN_GREY_SIDE and max(
            height, width
        ) <= _MAX_GREY_RATIO * min(height, width):
            color = "grayscale"
        case _:
            return None
    return ImagePreprocessing(resize="none" if None in shape else "stretch", color=color)


def only(tensors: Sequence[_TensorT], of: str, what: str) -> _TensorT:
    """The only one of `tensors`, the `what` of a model or job.

    Raises:
        UsageError: There are several.
    """
    if len(tensors) != 1:
        names = ", ".join(repr(tensor.name) for tensor in tensors)
        raise UsageError(f"{of} has {len(tensors)} {what}: {names}; name one of them")
    return tensors[0]


def takes(have: Sequence[int], want: Sequence[int | None]) -> bool:
    """Whether `have` is exactly a shape that `want` names; `None` is any length from 1 on."""
    sides, wanted = tuple(have), tuple(want)
    if None not in wanted:
        return sides == wanted
    return len(sides) == len(wanted) and all(
        side > 0 if length is None else side == length
        for side, length in zip(sides, wanted, strict=True)
    )


def array_dtype(dtype: str) -> str:
    """The dtype in arrays: NumPy has no bfloat16, which float32 holds, and strings are objects."""
    return {"bfloat16": "float32", "string": "object"}.get(dtype, dtype)


def stored_dtype(dtype: str) -> str:
    """The dtype in which outputs are stored: float32 for floats of 16 bits."""
    return "float32" if dtype in {"float16", "bfloat16"} else dtype


def text_of(shape: Shape) -> str:
    """A shape as JSON has it: `[null, 3]`."""
    return f"[{', '.join('null' if side is None else str(side) for side in shape)}]"


def unnamed_tensors(
    *, item_shape: Sequence[int], item_dtype: Any, classes: Sequence[str], task: Any = None
) -> tuple[InputTensor, OutputTensor]:
    """Input and output of a manifest from before tensors had names, with what it meant.

    Images had exactly the model's size, were turned as EXIF says, and decoded by Pillow.
    """
    image: ImagePreprocessing | None = None
    match list(item_shape):
        case [_, _, 3]:
            image = ImagePreprocessing(resize="none", exif=True, color="rgb", like="exact")
        case [_, _] | [_, _, 1]:
            image = ImagePreprocessing(resize="none", exif=True, color="grayscale", like="exact")
    return (
        InputTensor(name="inputs", dtype=item_dtype, shape=list(item_shape), image=image),
        OutputTensor(
            name="outputs",
            shape=[len(classes)],
            kind="values" if task == "regression" else "probabilities",
            classes=list(classes),
        ),
    )


def manifest_fields(
    version: int, takes: Sequence[InputTensor], gives: Sequence[OutputTensor]
) -> dict[str, Any]:
    """The fields of a job's manifest of `version` that say what the model takes and gives.

    Versions before 3 have room for one of each.
    """
    if version >= JOB_VERSION:
        old = dict.fromkeys(["item_shape", "item_dtype", "task", "classes"])
        return {**old, "inputs": list(takes), "outputs": list(gives)}
    (taken,), (given,) = takes, gives
    return {
        "item_shape": taken.shape,
        "item_dtype": taken.dtype,
        "task": given.task,
        "classes": given.columns,
    }
