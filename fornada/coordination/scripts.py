"""The Lua scripts beside this module: steps that Redis takes as one."""

import itertools
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import redis

from fornada.redis_server import keys as redis_keys

#: Counters of a job are dropped after 30 days without a change.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000


def script(client: "redis.Redis", name: str) -> Any:
    """`lua/<name>.lua`, to be called with `keys` and `args`."""
    # Any: redis-py types keys and arguments more narrowly than it takes them.
    names = f"local LEADER = '{redis_keys.LEADER_PREFIX}'\n"
    run = f"local function run()\n{_text(name)}end\n"
    return client.register_script(names + _text("clock") + run + _text("right_types"))


def _text(name: str) -> str:
    return files("fornada.coordination").joinpath(f"lua/{name}.lua").read_text()


def flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    """The rows one after the other, as scripts take them."""
    return list(itertools.chain.from_iterable(rows))
