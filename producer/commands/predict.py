"""`fornada predict`."""

from contextlib import closing

import click

from fornada.commands.output import text_stdout
from fornada.errors import PredictionErrors, UsageError
from producer.calls.lines import json_lines
from producer.commands.opening import client_from_env
from producer.inputs.arguments import inputs_of
from producer.inputs.interface import LocalFiles
from producer.remote.client import RemoteClient


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", required=True, metavar="NAME[:VERSION|@ALIAS]", help="The model.")
@click.option("--top-k", type=click.IntRange(1), help="Likeliest classes to list; 3 by default.")
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up waiting after this.",
)
def predict(inputs: tuple[str, ...], model: str, top_k: int | None, timeout_s: float) -> None:
    """Predict a few items now: no job is made, and nothing is kept.

    INPUT is as for `fornada submit`, a megabyte at most, and not in the store. Prints a JSON object
    for each item, as `fornada jobs results` does. Exits with 1 if an item failed.

    Example: fornada predict shoe.jpg --model fashion-mnist@prod
    """
    given = inputs_of(inputs)
    if not isinstance(given, LocalFiles):
        raise UsageError("predict takes local files; submit what is in the store as a job")
    client = client_from_env()
    if isinstance(client, RemoteClient):
        lines, failed_count = client.predict(given, model=model, top_k=top_k, timeout_s=timeout_s)
    else:
        with closing(client):
            result = client.predictions.predict(
                given, model=model, timeout_s=timeout_s, columns=None
            )
        lines, failed_count = json_lines(result, top_k=top_k), len(result.errors)
    stream = text_stdout()
    stream.write(lines)
    stream.flush()
    if failed_count:
        items = "1 item has" if failed_count == 1 else f"{failed_count} items have"
        raise PredictionErrors(f"{items} no result; `error` says why")
