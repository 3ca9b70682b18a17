"""The gateway's server, and the process that it runs in."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.app import create_app
from gateway.deployment import Deployment
from gateway.server import GatewayServer


@pytest.fixture
def collector() -> Iterator[None]:
    """Leaves garbage collection as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


def test_what_is_loaded_is_in_no_garbage_collection(
    deployment: Deployment, collector: None
) -> None:
    """Each full one went through 200,000 objects while every request waited."""
    alone, beside_others = (
        GatewayServer(create_app(deployment), host="127.0.0.1", port=0, owns_process=owns)
        for owns in (True, False)
    )

    frozen = [gc.get_freeze_count()]
    for server in (beside_others, alone):
        asyncio.run(server.on_tick(0))
        frozen.append(gc.get_freeze_count())

    assert frozen[0] == frozen[1] < frozen[2]
    assert len(gc.get_objects()) < frozen[2]
