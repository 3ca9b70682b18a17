"""How image files become items: the options, and `fornada models set-image`."""

import re
from collections.abc import Callable
from typing import Any, get_args

import click

from fornada import keys
from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.errors import UsageError
from fornada.tensors import Interpolation, Resize
from model_store.commands.reading import store_from_env, tensors_json
from model_store.images import LOADERS, ImageOptions, set_image

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)

#: Each option, and what it is by default where the model is new.
_OPTIONS: tuple[tuple[str, dict[str, Any], str, str | None], ...] = (
    (
        "--image-size",
        {"metavar": "HEIGHTxWIDTH"},
        "The size of images, where the model takes any: 224x224.",
        None,
    ),
    (
        "--resize",
        {"type": click.Choice(get_args(Resize))},
        "How images get the model's size.",
        "stretch",
    ),
    (
        "--interpolation",
        {"type": click.Choice(get_args(Interpolation))},
        "How pixels are computed from their neighbours.",
        "bilinear; nearest with --like load_img, as in Keras",
    ),
    (
        "--antialias/--no-antialias",
        {"default": None},
        "Average over all pixels when shrinking.",
        "off",
    ),
    (
        "--exif/--no-exif",
        {"default": None},
        "Turn photographs upright.",
        "off, as in Keras's loaders",
    ),
    (
        "--like",
        {"type": click.Choice(LOADERS)},
        "The function of keras.utils that loaded images in training.",
        "image_dataset_from_directory",
    ),
)


def image_options(
    *, of_new_model: bool = False, with_size: bool = True
) -> Callable[[Callable[..., Any]], Any]:
    """Options for a command, which gets them as `**image`; see `given_image`.

    Those left out keep what the model has; one that is new has defaults, which the help says.
    """
    options = _OPTIONS if with_size else _OPTIONS[1:]

    def add(command: Callable[..., Any]) -> Any:
        for names, how, text, default in reversed(options):
            said = f"{text} By default {default}." if default and of_new_model else text
            command = click.option(names, help=said, **how)(command)
        return command

    return add


def given_image(*, image_size: str | None = None, **image: Any) -> ImageOptions | None:
    """What the options of `image_options` say; `None` if none is given.

    Raises:
        UsageError: The size is not written as `224x224`.
    """
    given = {name: value for name, value in image.items() if value is not None}
    if image_size is not None:
        match = _SIZE.fullmatch(image_size)
        if match is None:
            raise UsageError(
                f"--image-size {image_size} is not HEIGHTxWIDTH; write e.g. --image-size 224x224"
            )
        given["size"] = (int(match[1]), int(match[2]))
    return ImageOptions(**given) if given else None  # type: ignore[typeddict-item]  # by name


@click.command("set-image")
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@image_options()
@click.option("--promote", metavar="ALIAS", help="Point this alias at the new version.")
@JSON_OPTION
def set_image_command(model: str, promote: str | None, as_json: bool, **image: Any) -> None:  # noqa: FBT001 - click passes flags by name
    """Publish a version again, with images made items in another way.

    A version never changes, so this publishes the next one, of the same files. Options left out
    keep what the version has. Only --promote moves an alias.

    Example: fornada models set-image pets@prod --resize crop --promote prod
    """
    options = given_image(**image)
    if options is None:
        raise UsageError("nothing to change; give --resize, --interpolation, --exif or --like")
    if promote is not None:
        keys.check_name("alias", promote)
    store = store_from_env()
    before = store.verified_manifest(store.resolve(model).pin)
    manifest = set_image(before, options, models=store)
    if promote is not None:
        store.promote(manifest.name, manifest.version, promote)
    if as_json:
        answer = {"model": str(manifest), "of": str(before), "digest": manifest.digest}
        print_json({**answer, **tensors_json(manifest), "promoted": promote})
        return
    say(f"published {manifest}, with the files of {before}")
    for taken in manifest.inputs:
        if taken.image is not None:
            say(f"images are {taken.image}")
    moved = "no alias" if promote is None else f"{manifest.name}@{promote}"
    say(f"{moved} points at it; jobs submitted before keep {before}")
