"""The client of `lone_caller`, in a process of its own: makes the calls that its stdin names.

Run as a file, so that the clients and workers of other commits can be imported beside it.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import numpy as np

from producer import AsyncClient, Client

_TIMEOUT_S = 120.0
_IMAGES = 256


def main() -> None:
    """Serve `lone_caller`."""
    model, path = sys.argv[1:]
    with Client.from_env() as client:
        calls = _Calls(client, model, np.load(path)[:_IMAGES])
        for line in sys.stdin:
            print(json.dumps(calls.measured(**json.loads(line))), flush=True)


class _Calls:
    """Calls of an image each."""

    def __init__(self, client: Client, model: str, images: Any) -> None:
        self._client, self._model = client, model
        self._async_client = AsyncClient(client)
        self._images = [images[at : at + 1] for at in range(len(images))]

    def measured(self, *, threads: int, tasks: int, count: int) -> dict[str, Any]:
        """What calls took, of several threads or of several tasks of one event loop."""
        self._latencies_s: list[float] = []
        numbers = iter(range(count))
        callers = [threading.Thread(target=self._call, args=(numbers,)) for _ in range(threads)]
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        if tasks:
            asyncio.run(self._await_all(tasks, numbers))
        return {
            "latencies_s": self._latencies_s,
            "took_s": time.perf_counter() - began_s,
            "cpu_s": time.process_time() - began_cpu_s,
        }

    def _call(self, numbers: Any) -> None:
        for number in numbers:
            image, began_s = self._images[number % _IMAGES], time.perf_counter()
            self._client.predict(image, model=self._model, timeout_s=_TIMEOUT_S)
            self._latencies_s.append(time.perf_counter() - began_s)

    async def _await_all(self, tasks: int, numbers: Any) -> None:
        await asyncio.gather(*(self._await(numbers) for _ in range(tasks)))

    async def _await(self, numbers: Any) -> None:
        for number in numbers:
            image, began_s = self._images[number % _IMAGES], time.perf_counter()
            await self._async_client.predict(image, model=self._model, timeout_s=_TIMEOUT_S)
            self._latencies_s.append(time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
