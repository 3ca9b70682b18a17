"""`fornada dataset`: a built-in data set as files."""

from pathlib import Path

import click

from fornada.commands.output import JSON_OPTION, print_json, say
from trainer.data.catalog import DATASET_NAMES, load_dataset
from trainer.data.files import write_dataset

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("name", type=click.Choice(DATASET_NAMES))
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--output", type=_PATH, required=True, metavar="DIR", help="Created if missing.")
@JSON_OPTION
def dataset(name: str, split: str, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Write a data set's items, targets and class names as files.

    Images go to images.npy, other items to items.npy; classes to labels.npy, values to targets.npy.

    Example: fornada dataset fashion_mnist --split test --output fashion-mnist-test
    """
    loaded = load_dataset(name)
    items, targets = loaded.splits[split]
    paths = write_dataset(output, items=items, targets=targets, classes=loaded.classes)
    if as_json:
        answer = {"dataset": name, "split": split, "kind": loaded.kind, "items": len(items)}
        files = {path.stem: str(path) for path in paths}
        print_json({**answer, "item_shape": list(loaded.item_shape), "files": files})
        return
    say(f"wrote {len(items)} items to {paths[0]}")
    say(f"{paths[1].stem}: {paths[1]}, classes: {paths[2]}")
