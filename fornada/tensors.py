"""The named tensors that a model takes and gives, as manifests of models and jobs state them."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fornada.records import Record, Task

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: Sides of one item, without the leading axis; `None` where they vary.
Shape = Annotated[list[Annotated[int, Field(ge=0)] | None], Field(max_length=32)]
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
#: Whose pixels an image has: those of `keras.utils.image_dataset_from_directory`, of
#: `keras.utils.load_img`, or of Fornada before it resized images.
ImageLoader = Literal["image_dataset_from_directory", "load_img", "exact"]

#: Classes of a binary output nobody named.
BINARY_CLASSES = ("0", "1")


class ImagePreprocessing(Record):
    """How an image file becomes an item; the size is that of the input's shape."""

    #: `stretch` ignores the aspect ratio, `crop` cuts the middle out, `pad` adds black bars,
    #: `none` takes images of the right size alone, or of any size where the shape is open.
    resize: Resize = "stretch"
    interpolation: Interpolation = "bilinear"
    #: Whether shrinking averages over all pixels, as `tf.image.resize(antialias=True)`.
    antialias: bool = False
    #: Whether a photograph is turned upright as its EXIF orientation says.
    exif: bool = False
    color: Literal["rgb", "grayscale", "rgba"] = "rgb"
    like: ImageLoader = "image_dataset_from_directory"


class InputTensor(Record):
    """One input of a model."""

    name: TensorName
    dtype: Dtype
    shape: Shape
    #: How image files become items; absent where items are no images.
    image: ImagePreprocessing | None = None
    #: Whether an item with NaN or infinity fails.
    finite: bool = True
    #: Stands in for NaN and null; absent where an item with one fails.
    fill: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether a side of an item may vary."""
        return None in self.shape

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an item may have this shape."""
        return len(shape) == len(self.shape) and all(
            have > 0 if want is None else have == want
            for have, want in zip(shape, self.shape, strict=True)
        )

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of every item; empty sides where they vary."""
        return tuple(side or 0 for side in self.shape)

    @property
    def numpy_dtype(self) -> str:
        """The dtype in arrays; NumPy has no bfloat16, which float32 holds without loss."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

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
    #: From which probability on a class applies; of kinds `binary` and `multilabel`.
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

    @property
    def width(self) -> int:
        """Numbers of an item."""
        return math.prod(side or 0 for side in self.shape)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of an item's numbers; empty for a single number."""
        return tuple(side or 0 for side in self.shape)

    @property
    def columns(self) -> list[str]:
        """A name for each number of an item: classes, values, or running numbers."""
        if self.kind == "binary":
            return [(self.classes or BINARY_CLASSES)[1]]
        return self.classes or [str(number) for number in range(self.width)]

    @property
    def task(self) -> Task:
        """What manifests before schema version 3 call it."""
        return "classification" if self.kind in CLASS_KINDS else "regression"


#: Kinds whose outputs name classes.
CLASS_KINDS = ("probabilities", "binary", "multilabel")


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
