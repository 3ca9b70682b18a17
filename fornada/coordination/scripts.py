"""The Lua scripts beside this module: steps that Redis takes as one."""

import itertools
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import redis

from fornada.coordination.notices.interface import TOLD_EVERY_S
from fornada.redis_server import keys as redis_keys

#: Counters of a job are dropped after 30 days without a change.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000


def script(client: "redis.Redis", name: str) -> Any:
    """`lua/<name>.lua`, to be called with `keys` and `args`."""
    # Any: redis-py types keys and arguments more narrowly than it takes them.
    texts = (files("fornada.coordination").joinpath(f"lua/{part}.lua") for part in ("clock", name))
    prefixes = {
        "LEADER": redis_keys.LEADER_PREFIX,
        "JOB": redis_keys.JOB_PREFIX,
        "NOTICES": redis_keys.NOTICES_PREFIX,
    }
    names = "".join(f"local {each} = '{prefix}'\n" for each, prefix in prefixes.items())
    names += f"local TOLD_EVERY_MS = {round(TOLD_EVERY_S * 1000)}\n"
    return client.register_script(names + "".join(text.read_text() for text in texts))


def flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    """The rows one after the other, as scripts take them."""
    return list(itertools.chain.from_iterable(rows))
