"""`fornada models list`, of the store or through a gateway."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from fornada.commands.output import JSON_OPTION
from model_store.commands.reading import ListedModel, listed_models, print_models
from producer.commands.opening import gateway_from_env
from producer.remote.gateway import Gateway


@click.command("list")
@JSON_OPTION
def list_models(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List all models with their newest version and their aliases, or why one cannot be read.

    Example: fornada models list
    """
    gateway = gateway_from_env()
    found, unreadable = listed_models() if gateway is None else (_behind(gateway), {})
    print_models(found, unreadable, as_json=as_json)


def _behind(gateway: Gateway) -> list[ListedModel]:
    return [
        _listed(model, gateway.get(f"/v1/models/{model['name']}/versions")["data"])
        for model in gateway.get("/v1/models")["data"]
    ]


def _listed(model: dict[str, Any], versions: list[dict[str, Any]]) -> ListedModel:
    newest = versions[0]
    return ListedModel(
        name=model["name"],
        versions=sorted(version["version"] for version in versions),
        newest=newest["version"],
        digest=newest["sha256"],
        aliases=model["aliases"],
        inputs=_stated(newest["inputs"]),
        outputs=_stated(newest["outputs"]),
        metrics=newest["metrics"],
        created_at=datetime.fromisoformat(newest["created_at"]),
    )


def _stated(tensors: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in t.items() if value is not None} for t in tensors]
