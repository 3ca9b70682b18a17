"""How image files become the items of a model, as its publisher states it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, get_args

from pydantic import ValidationError

from fornada.errors import UsageError
from fornada.tensors import (
    ImageLoader,
    ImagePreprocessing,
    InputTensor,
    Interpolation,
    Resize,
    default_image,
    text_of,
)
from model_store.golden_batch import from_golden
from model_store.manifest import ModelDraft, ModelManifest
from model_store.scratch import scratch_folder
from model_store.store import ModelStore

#: The loaders that training uses.
LOADERS = tuple(loader for loader in get_args(ImageLoader) if loader != "exact")
#: Numbers that hold every pixel value.
_PIXEL_DTYPES = {
    *("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
}
_WHAT_THERE_IS = (
    f"size=(height, width), resize={'|'.join(get_args(Resize))}, "
    f"interpolation={'|'.join(get_args(Interpolation))}, antialias=True, exif=True, "
    f"like={'|'.join(LOADERS)}"
)


class ImageOptions(TypedDict, total=False):
    """What a publisher states about image files; the rest is as training most often has it.

    `size` is height and width, for models whose sides are open. The others are those of
    `ImagePreprocessing`; colours follow from the model's channels.
    """

    size: tuple[int, int]
    resize: Resize
    interpolation: Interpolation
    antialias: bool
    exif: bool
    like: ImageLoader


def has_images(taken: InputTensor) -> bool:
    """Whether an input's items are shaped like images."""
    return taken.dtype in _PIXEL_DTYPES and default_image(taken.shape) is not None


def with_images(taken: InputTensor, options: ImageOptions | None, *, where: str) -> InputTensor:
    """An input that says how image files become its items.

    Args:
        taken: The input; what its `image` says stays, unless an option says otherwise.
        options: What the publisher states. `None` gives the default (`default_image`) if items
            are shaped like images, and otherwise nothing.
        where: The model, for messages.

    Raises:
        UsageError: The options are not `ImageOptions`, or do not fit the input.
    """
    default = default_image(taken.shape) if has_images(taken) else None
    if options is None:
        return taken.model_copy(update={"image": default})
    stated = _checked(options)
    if default is None:
        raise UsageError(
            f"{where} takes {taken}, which are not images; leave out the options for images"
        )
    base = default if taken.image is None or taken.image.like == "exact" else taken.image
    size = stated.pop("size", None)
    shape = _sized(taken, size, where=where)
    if size is not None:
        stated.setdefault("resize", "stretch")
    if stated.get("like", base.like) != base.like:
        # The defaults of the loaders.
        nearest = stated["like"] == "load_img"
        stated.setdefault("interpolation", "nearest" if nearest else "bilinear")
    image = ImagePreprocessing(**{**dict(base), **stated})
    if None in shape and image.resize != "none":
        raise UsageError(
            f"{where} takes images of any size ({taken}), and resize is {image.resize}; "
            "publish it with a size"
        )
    return taken.model_copy(update={"shape": shape, "image": image})


def all_with_images(
    inputs: Sequence[InputTensor], options: ImageOptions, *, where: str
) -> list[InputTensor]:
    """The inputs, of which those that are images say how image files become their items.

    Raises:
        UsageError: None is, or the options do not fit them.
    """
    if not any(map(has_images, inputs)):
        takes = ", ".join(str(tensor) for tensor in inputs)
        raise UsageError(
            f"{where} takes {takes}, which are not images; leave out the options for images"
        )
    return [
        with_images(tensor, options, where=where) if has_images(tensor) else tensor
        for tensor in inputs
    ]


def set_image(
    manifest: ModelManifest, options: ImageOptions, *, models: ModelStore
) -> ModelManifest:
    """Publish a version again, with the same files and images made items in another way.

    Raises:
        UsageError: The options do not fit the model, change nothing, or change the size of items,
            for which the golden batch would have to be made again.
        StoreError: The store cannot be reached or refuses.
    """
    inputs = all_with_images(manifest.inputs, options, where=str(manifest))
    if inputs == manifest.inputs:
        (image, *_) = (tensor.image for tensor in inputs if tensor.image is not None)
        raise UsageError(f"images of {manifest} are so already: {image}")
    golden = manifest.golden
    items = from_golden(models.fetch(golden.inputs), manifest.inputs, where=golden.inputs.key)
    for tensor, old, shape in zip(inputs, manifest.inputs, items.shapes, strict=True):
        if tensor.shape not in (old.shape, list(shape)):
            raise UsageError(
                f"the golden batch of {manifest} has items of {text_of(list(shape))}, not "
                f"{text_of(tensor.shape)}; publish the model again with that size"
            )

    stated = {field: getattr(manifest, field) for field in ModelDraft.model_fields}
    with scratch_folder() as folder:
        artifact = folder / "model.keras"
        models.download(manifest.artifact, artifact)
        return models.publish(
            ModelDraft(**{**stated, "inputs": inputs}),
            artifact=artifact,
            golden_inputs=items,
            golden_outputs=from_golden(
                models.fetch(golden.outputs), manifest.outputs, where=golden.outputs.key
            ),
            files={name: models.fetch(ref) for name, ref in manifest.files.items()},
            # Its digest is checked as it is read back, and was accepted with the first version.
            check=lambda _artifact: None,
        )


def _checked(options: Any) -> dict[str, Any]:
    """The options that were given, of the right types."""
    if not isinstance(options, Mapping):
        raise UsageError(
            f"image is a {type(options).__name__}; give a dict of some of {_WHAT_THERE_IS}"
        )
    stated = {name: value for name, value in options.items() if name != "size"}
    unknown = sorted(map(str, stated.keys() - ImageOptions.__annotations__.keys()))
    if unknown:
        raise UsageError(f"image has no {', '.join(unknown)}; give some of {_WHAT_THERE_IS}")
    try:
        if stated.get("like", LOADERS[0]) not in LOADERS:
            raise ValueError  # noqa: TRY301 - one place explains
        ImagePreprocessing(**stated)
    except (ValidationError, ValueError, TypeError) as exc:
        given = ", ".join(f"{name}={value!r}" for name, value in stated.items())
        raise UsageError(f"image has {given}; give some of {_WHAT_THERE_IS}") from exc
    size = options.get("size")
    return stated if size is None else {**stated, "size": _checked_size(size)}


def _checked_size(size: Any) -> list[int]:
    if (
        not isinstance(size, Sequence)
        or len(size) != 2  # noqa: PLR2004 - height, width
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise UsageError(f"the size of images is {size!r}; give height and width, such as 224, 224")
    return list(size)


def _sized(taken: InputTensor, size: list[int] | None, *, where: str) -> list[int | None]:
    """The shape of the input, with `size` where its sides are open."""
    if size is None:
        return taken.shape
    sides = taken.shape[:2]
    if any(own not in {None, wanted} for own, wanted in zip(sides, size, strict=True)):
        raise UsageError(
            f"{where} takes images of {text_of(sides)} (height, width), not {size}; leave out the "
            "size, and images are resized to the model's"
        )
    return [*size, *taken.shape[2:]]
