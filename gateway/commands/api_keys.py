"""`fornada keys`: make, list and revoke the API keys of the gateway."""

import os
from collections.abc import Iterable

import click

from fornada import logs
from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from fornada.errors import ObjectNotFoundError, UsageError
from fornada.settings import Settings
from fornada.storage.opening import open_store
from gateway.auth.api_keys import ApiKey, ApiKeys
from gateway.auth.scopes import Scope

# As texts: of an enumeration, click takes the names of its members.
_SCOPES = [scope.value for scope in Scope]
# What concerns all owners is given on purpose.
_GIVEN_ON_PURPOSE = (Scope.ADMIN, Scope.MODELS_WRITE, Scope.METRICS_READ)
_DEFAULT_SCOPES = tuple(s for s in _SCOPES if s not in _GIVEN_ON_PURPOSE)


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the gateway."""


@keys.command()
@click.argument("owner")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    default=_DEFAULT_SCOPES,
    show_default=True,
    help="What it allows; may be repeated.",
)
@click.option("--prefix", "prefixes", multiple=True, help="s3://bucket/prefix/ that its jobs read.")
@click.option("--queue", "queues", multiple=True, help="A queue that it may use.")
@click.option("--rate", help="Requests that it may make, such as 100/second.")
@click.option("--open-items", type=click.IntRange(min=0), help="Items in its open jobs, at most.")
@JSON_OPTION
def create(
    owner: str,
    *,
    scopes: tuple[str, ...],
    prefixes: tuple[str, ...],
    queues: tuple[str, ...],
    rate: str | None,
    open_items: int | None,
    as_json: bool,
) -> None:
    """Make a key for OWNER, who owns the jobs that are submitted with it. It is shown once.

    Example: fornada keys create shop --scope jobs:write --scope results:read
    """
    key, token = _open().create(
        owner,
        scopes=[Scope(scope) for scope in scopes],
        prefixes=prefixes,
        queues=queues or None,
        rate=rate,
        open_items=open_items,
    )
    if as_json:
        print_json({**_plain(key), "key": token})
        return
    say(token)
    say(f"key {key.id} of {owner}; it is not shown again", err=True)


@keys.command("list")
@JSON_OPTION
def list_keys(*, as_json: bool) -> None:
    """List the keys; their secrets are not kept.

    Example: fornada keys list
    """
    found = _open().all()
    if as_json:
        print_json({"keys": [_plain(key) for key in found]})
        return
    print_table(_rows(found), header=["KEY", "OWNER", "SCOPES", "CREATED", "REVOKED"])


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End the key KEY_ID, which `fornada keys list` shows; gateways follow in seconds.

    Example: fornada keys revoke 3f9a0c1b2d4e
    """
    try:
        key = _open().revoke(key_id)
    except ObjectNotFoundError:
        raise UsageError(f"there is no key {key_id}; see `fornada keys list`") from None
    say(f"key {key.id} of {key.owner} is revoked")


def _open() -> ApiKeys:
    settings = Settings.from_env(os.environ)
    settings.require_deployment(f"`{click.get_current_context().command_path}`")
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return ApiKeys(objects=open_store(settings))


def _plain(key: ApiKey) -> dict[str, object]:
    return key.model_dump(mode="json", exclude={"sha256", "schema_version"})


def _rows(found: Iterable[ApiKey]) -> Iterable[list[object]]:
    for key in found:
        revoked = key.revoked_at
        yield [
            key.id,
            key.owner,
            " ".join(key.scopes),
            f"{key.created_at:%Y-%m-%d %H:%M}",
            "" if revoked is None else f"{revoked:%Y-%m-%d %H:%M}",
        ]
