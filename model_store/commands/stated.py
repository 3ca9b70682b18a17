"""What a publisher states about input and output: the options of `fornada models publish`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from fornada.errors import UsageError
from fornada.tensors import Kind
from model_store.commands.images import given_image, image_options

if TYPE_CHECKING:
    from model_store.publishing.stated import Stated

FILE = click.Path(path_type=Path, dir_okay=False)

_OPTIONS = (
    click.option(
        "--output",
        "kinds",
        multiple=True,
        metavar="NAME=KIND",
        help=f"What an output is: {', '.join(get_args(Kind))}. By default inferred from the "
        "model's last layers and its loss.",
    ),
    click.option(
        "--classes",
        type=FILE,
        metavar="JSON",
        help="A file with an array of names: of the classes or values, or the two of a binary "
        "output. By default they are numbered.",
    ),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1),
        help="Probability from which a class applies, for binary and multilabel outputs.  "
        "[default: 0.5]",
    ),
    click.option("--input-name", metavar="NAME", help="The input's name. By default Keras's."),
    click.option("--output-name", metavar="NAME", help="The output's name. By default Keras's."),
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
    classes: Path | None,
    threshold: float | None,
    input_name: str | None,
    output_name: str | None,
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
        classes=None if classes is None else read_classes(classes),
        threshold=threshold,
        image=given_image(**image),
        input_name=input_name,
        output_name=output_name,
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
