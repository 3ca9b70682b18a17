"""The threads in which an event loop has the work done that blocks."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads:
    """The threads of a pool; what they have no room for waits."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `function` returns in one of the threads."""
        loop = asyncio.get_running_loop()
        # As `asyncio.to_thread`: with what log lines and traces of the caller say.
        context = contextvars.copy_context()
        return await loop.run_in_executor(
            self._pool, lambda: context.run(function, *args, **kwargs)
        )

    async def iterate(self, make: Callable[[], Iterable[_T]]) -> AsyncIterator[_T]:
        """What an iterable gives, each element taken in one of the threads.

        Args:
            make: Returns the iterable; called in a thread too.
        """
        iterator = iter(await self.run(make))
        loop = asyncio.get_running_loop()
        taking: asyncio.Future[list[_T]] | None = None
        try:
            while True:
                taking = loop.run_in_executor(self._pool, _next_of, iterator)
                # Cancelling it would leave a thread in the iterator.
                taken = await asyncio.shield(taking)
                if not taken:
                    return
                yield taken[0]
        finally:
            if taking is not None and not taking.done():
                await asyncio.wait([taking])
            close = getattr(iterator, "close", None)
            if close is not None:
                await self.run(close)

    def close(self) -> None:
        """End the threads once their work is done; waits for none."""
        self._pool.shutdown(wait=False)


def _next_of(iterator: "Iterable[_T]") -> list[_T]:
    """The next element alone; empty at the end, since a future cannot hold `StopIteration`."""
    for element in iterator:
        return [element]
    return []
