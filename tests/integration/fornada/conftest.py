"""Coordination in memory and on a real Valkey."""

import pytest
from pydantic import SecretStr

from fornada.coordination.interface import Coordination
from fornada.coordination.redis import RedisCoordination
from fornada.settings import Settings
from fornada.testing import InMemoryCoordination


@pytest.fixture(params=["memory", "redis"])
def coordination(request: pytest.FixtureRequest) -> Coordination:
    """One in memory, and an empty one on a real Valkey: both pass the same tests."""
    if request.param == "memory":
        return InMemoryCoordination()
    url = request.getfixturevalue("redis_url")
    return RedisCoordination.from_settings(Settings(redis_url=SecretStr(url)))
