"""`fornada models promote`, `rollback`, `sign` and `delete`: the commands that change the store."""

from pathlib import Path

import click

from fornada import keys
from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.errors import UsageError
from fornada.jobs.store import JobStore
from model_store.commands.reading import store_from_env
from model_store.gates import Gate, check_gates
from model_store.manifest import ModelManifest, ModelRef
from model_store.removal import delete_version
from model_store.safety.signing import PrivateKey
from model_store.store import ModelStore

_ALIAS = click.option("--alias", required=True, metavar="ALIAS", help="For example prod.")
_VERSION = click.argument("model", metavar="NAME:VERSION")


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("version", type=click.IntRange(1))
@_ALIAS
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="CONDITION",
    help="Promote only if its metrics meet this, e.g. 'val_accuracy>=0.85'. Repeatable.",
)
@JSON_OPTION
def promote(
    name: str,
    version: int,
    alias: str,
    gates: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Point an alias at a version; jobs submitted from now on use it, running ones do not.

    Example: fornada models promote fashion-mnist 2 --alias prod --gate 'val_accuracy>=0.85'
    """
    parsed = [Gate.parse(gate) for gate in gates]
    keys.check_name("alias", alias)
    store = store_from_env()
    manifest = store.resolve(ModelRef(name=keys.check_name("model name", name), version=version))
    check_gates(parsed, manifest.metrics, model=str(manifest))
    before = store.aliases(name).get(alias)
    store.promote(name, version, alias)
    _print_moved(manifest, alias, before, as_json=as_json)


@click.command()
@click.argument("name", metavar="NAME")
@_ALIAS
@JSON_OPTION
def rollback(name: str, alias: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Point an alias back at its previous version; repeated, at the one before that.

    Example: fornada models rollback fashion-mnist --alias prod
    """
    keys.check_name("alias", alias)
    store = store_from_env()
    before = store.aliases(keys.check_name("model name", name)).get(alias)
    version = store.rollback(name, alias)
    manifest = store.resolve(ModelRef(name=name, version=version))
    _print_moved(manifest, alias, before, as_json=as_json)


@click.command()
@_VERSION
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="PEM",
    help="Ed25519 private key.",
)
@JSON_OPTION
def sign(model: str, key_file: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Sign a version, so that workers with the public key load it.

    First check what you sign with `fornada models verify` and `show`.

    Example: fornada models sign fashion-mnist:2 --key private.pem
    """
    key = PrivateKey.read(key_file)
    store = store_from_env()
    manifest = _exactly(store, model)
    store.sign(manifest, key)
    if as_json:
        print_json({"model": str(manifest), "key_id": key.key_id})
    else:
        say(f"signed {manifest} with the key {key.key_id}")


@click.command()
@_VERSION
@JSON_OPTION
def delete(model: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Delete a version that no alias points at and no open job runs on.

    Its number is never reused. Ended jobs keep their results but cannot be run again.

    Example: fornada models delete fashion-mnist:1
    """
    store = store_from_env()
    manifest = _exactly(store, model)
    count = delete_version(manifest, models=store, jobs=JobStore(objects=store.objects))
    if as_json:
        print_json({"model": str(manifest), "objects": count})
    else:
        say(f"deleted {manifest}, {count} objects")


def _exactly(store: ModelStore, model: str) -> ModelManifest:
    """The version named by its number, not by an alias or as the newest."""
    ref = ModelRef.parse(model)
    if ref.version is None:
        raise UsageError(f"{model!r} does not name a version by its number; write NAME:VERSION")
    return store.resolve(ref)


def _print_moved(manifest: ModelManifest, alias: str, before: int | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"model": str(manifest), "alias": alias, "before": before})
        return
    was = "was nothing" if before is None else f"was {manifest.name}:{before}"
    say(f"{manifest.name}@{alias} is {manifest} now, {was}")
