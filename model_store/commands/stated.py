"""What a publisher states about input and output: the options of `fornada models publish`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from fornada.errors import UsageError
from fornada.tensors import Kind
from model_store.commands.images import given_image, image_options

if TYPE_CHECKING:
    from model_store.publishing.stated import Stated

_T = TypeVar("_T")

FILE = click.Path(path_type=Path, dir_okay=False)

_OPTIONS = (
    click.option(
        "--output",
        "kinds",
        multiple=True,
        metavar="NAME=KIND",
        help=f"What an output is: {', '.join(get_args(Kind))}. By default inferred from the "
        "model's last layers and its loss. Repeatable.",
    ),
    click.option(
        "--classes",
        multiple=True,
        metavar="[NAME=]JSON",
        help="A file with an array of names: of the classes or values, or the two of a binary "
        "output. Of several outputs, repeatable by name. By default they are numbered.",
    ),
    click.option(
        "--threshold",
        "thresholds",
        multiple=True,
        metavar="[NAME=]NUMBER",
        help="Probability from which a class applies, for binary and multilabel outputs; of "
        "several, repeatable by name.  [default: 0.5]",
    ),
    click.option(
        "--input-name",
        "input_names",
        multiple=True,
        metavar="[OLD=]NAME",
        help="The input's name, of several repeatable. By default Keras's.",
    ),
    click.option(
        "--output-name",
        "output_names",
        multiple=True,
        metavar="[OLD=]NAME",
        help="The output's name, of several repeatable. By default Keras's.",
    ),
    image_options(of_new_model=True),
    click.option(
        "--fill",
        type=float,
        metavar="NUMBER",
        help="Replaces NaN and null in items; by default they fail an item.",
    ),
    click.option(
        "--allow-nan",
        type=click.Choice(("inputs", "outputs")),
        multiple=True,
        help="Let NaN and infinity pass there; by default they fail an item. Repeatable.",
    ),
)


def stated_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as `**stated`; see `given_stated`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_stated(
    *,
    kinds: tuple[str, ...],
    classes: tuple[str, ...],
    thresholds: tuple[str, ...],
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    fill: float | None,
    allow_nan: tuple[Any, ...],
    **image: Any,
) -> "Stated":
    """What the options of `stated_options` say.

    Raises:
        UsageError, InputError: One is not written as it should be.
    """
    from model_store.publishing.file import read_classes  # noqa: PLC0415 - `--help` does not need it
    from model_store.publishing.stated import Stated  # noqa: PLC0415 - as above

    return Stated(
        kind=_kinds(kinds),
        classes=_by_name(classes, lambda path: read_classes(Path(path)), "--classes"),
        threshold=_by_name(thresholds, _probability, "--threshold"),
        image=given_image(**image),
        input_name=_by_name(input_names, str, "--input-name"),
        output_name=_by_name(output_names, str, "--output-name"),
        fill=fill,
        allow_nan=allow_nan,
    )


def _kinds(texts: tuple[str, ...]) -> dict[str, Kind] | None:
    kinds = {}
    for text in texts:
        name, found, kind = text.rpartition("=")
        if not (name and found) or kind not in get_args(Kind):
            raise UsageError(
                f"--output {text} is not NAME=KIND with KIND one of {', '.join(get_args(Kind))}"
            )
        kinds[name] = cast("Kind", kind)
    return kinds or None


def _by_name(
    texts: tuple[str, ...], read: Callable[[str], _T], option: str
) -> _T | dict[str, _T] | None:
    """What an option says: of the only tensor, or by name of several."""
    if not texts:
        return None
    parts = [text.rpartition("=") for text in texts]
    if len(texts) == 1 and not parts[0][1]:
        return read(texts[0])
    plain = next((text for text, part in zip(texts, parts, strict=True) if not part[0]), None)
    if plain is not None:
        raise UsageError(f"{option} {plain} says not of which; give NAME={plain}")
    return {name: read(text) for name, _, text in parts}


def _probability(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--threshold {text} is not a number; give one from 0 to 1") from None
