"""`fornada submit`."""

from collections.abc import Iterable
from typing import Any

import click

from fornada.errors import UsageError
from producer.commands.jobs import JSON_OPTION, client_from_env
from producer.commands.view import finish, print_status, watch
from producer.inputs.paths import read_blocks
from producer.inputs.stored_images import StoredImages

#: Images read from files are handed on in blocks of about this size.
_BLOCK_BYTES = 16 * 1024 * 1024


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", required=True, metavar="NAME[:VERSION|@ALIAS]", help="What predicts.")
@click.option("--items-per-shard", type=click.IntRange(1), help="Items in one message.")
@click.option("--idempotency-key", metavar="KEY", help="Becomes the job's id; safe to repeat.")
@click.option("--deadline", "deadline_s", type=float, metavar="SECONDS", help="Begin none later.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Kept with the job.")
@click.option("--wait", "wait", is_flag=True, help="Stay until the job has ended.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Wait no longer.")
@JSON_OPTION
def submit(  # noqa: PLR0917 - click passes options by name
    inputs: tuple[str, ...],
    model: str,
    items_per_shard: int | None,
    idempotency_key: str | None,
    deadline_s: float | None,
    tags: tuple[str, ...],
    wait: bool,  # noqa: FBT001
    timeout_s: float | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Submit items as a job: images, vectors or token sequences.

    INPUT is any of: .npy, .npz, IDX (also gzipped), PNG and JPEG files, folders and globs of
    them; or one s3://BUCKET/PREFIX whose objects are read where they lie.

    Example: fornada submit photos/ --model fashion-mnist@prod --wait
    """
    client = client_from_env()
    images: Any
    if inputs[0].startswith("s3://"):
        if len(inputs) > 1:
            raise UsageError("give one s3:// prefix alone, or local files; submit the rest apart")
        images = StoredImages.parse(inputs[0])
    else:
        shape = client.model(model).item_shape
        images = read_blocks(inputs, item_shape=shape, max_block_bytes=_BLOCK_BYTES)
    job = client.submit(
        images,
        model=model,
        idempotency_key=idempotency_key,
        items_per_shard=items_per_shard,
        deadline_s=deadline_s,
        tags=_parse_tags(tags),
    )
    if not wait:
        print_status(job.status(), as_json=as_json)
        return
    click.echo(f"submitted job {job.id}", err=True)
    finish(watch(job, timeout_s=timeout_s), as_json=as_json)


def _parse_tags(tags: Iterable[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise UsageError(f"--tag {tag!r} is not KEY=VALUE")
        parsed[key] = value
    return parsed
