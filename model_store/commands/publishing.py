"""`fornada models publish`: the one command on models that needs Keras."""

from pathlib import Path
from typing import get_args

import click

from fornada.commands.output import JSON_OPTION, print_json
from fornada.records import Task
from model_store.commands.reading import store_from_env
from model_store.safety.signing import PrivateKey

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_FILE, metavar="MODEL.keras")
@click.option("--name", required=True, metavar="MODEL", help="The model's name in the store.")
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="classification",
    show_default=True,
    help="What its outputs are: a probability for each class, or values.",
)
@click.option(
    "--classes",
    type=_FILE,
    metavar="JSON",
    help="An array of names, one for each output. Left out, they are numbered.",
)
@click.option(
    "--golden",
    type=_FILE,
    metavar="NPY",
    help="Items whose outputs are kept and compared at every load. Left out, they are made up.",
)
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="Kept, for gates to ask."
)
@click.option(
    "--sign-key", type=_FILE, metavar="PEM", help="Sign the version with this Ed25519 private key."
)
@JSON_OPTION
def publish(  # noqa: PLR0917 - click passes options by name
    file: Path,
    name: str,
    task: Task,
    classes: Path | None,
    golden: Path | None,
    metrics: tuple[str, ...],
    sign_key: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Publish a .keras file that was trained elsewhere as the next version of a model.

    It is checked, loaded, stored, read back and compared before the version exists.

    Example: fornada models publish model.keras --name fashion-mnist --classes classes.json
    """
    from model_store import publication  # noqa: PLC0415 - `--help` does not need it

    key = None if sign_key is None else PrivateKey.read(sign_key)
    manifest = publication.publish_file(
        publication.read_artifact(file),
        where=str(file),
        name=name,
        models=store_from_env(),
        task=task,
        classes=None if classes is None else publication.read_classes(classes),
        golden=None if golden is None else publication.read_golden(golden),
        metrics=publication.parse_metrics(metrics),
        sign_key=key,
    )
    if as_json:
        print_json(
            {
                "model": str(manifest),
                "digest": manifest.digest,
                "item_shape": manifest.item_shape,
                "item_dtype": manifest.item_dtype,
                "task": manifest.task,
                "classes": manifest.classes,
                "artifact": manifest.artifact.key,
                "signed_by": None if key is None else key.key_id,
            }
        )
        return
    click.echo(f"published {manifest}, digest {manifest.digest}")
    gives = (
        f"one of {len(manifest.classes)} classes"
        if manifest.task == "classification"
        else ", ".join(manifest.classes)
    )
    click.echo(f"it takes {manifest.item_dtype} {manifest.item_shape}, gives {gives}")
