"""The client's side of the contenders that are HTTP servers."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import numpy as np
import urllib3
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contract import Done, Task

#: Objects in flight; as many as a Fornada worker has threads.
OBJECT_THREADS = 4
#: Requests of one image in flight.
CALLERS = 64

_START_TIMEOUT_S = 120.0
_OK = 200

#: Makes a request from one image: body and headers.
Encode = Callable[[NDArray[np.uint8]], tuple[bytes, dict[str, str]]]
#: Reads the probabilities in an answer: float32 [classes].
Decode = Callable[[bytes], Any]


def wait_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Return once `url` answers.

    Raises:
        RuntimeError: The server has ended, or does not answer in time.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            if urllib3.request("GET", url, retries=False, timeout=2).status == _OK:
                return
        except urllib3.exceptions.HTTPError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server is not up at {url}, exit code {server.poll()}")
        time.sleep(0.02)


def run_objects(task: Task, *, url: str, encode: Callable[[bytes], dict[str, Any]]) -> Done:
    """Get each object, post it, and put the `.npy` of the answer."""
    s3 = contract.s3_client()
    http = urllib3.PoolManager(maxsize=OBJECT_THREADS)

    def work(key: str) -> int:
        answer = http.request("POST", url, **encode(contract.get_bytes(s3, key)))
        if answer.status != _OK:
            raise RuntimeError(f"{url} answered {answer.status}: {answer.data[:500]!r}")
        contract.put_bytes(s3, contract.output_key(task, key), answer.data)
        return len(contract.from_npy(answer.data))

    with ThreadPoolExecutor(OBJECT_THREADS) as pool:
        items = sum(pool.map(work, task.keys))
    return Done(items=items, finished_at=contract.now())


def run_calls(
    images: NDArray[np.uint8], task: Task, *, url: str, encode: Encode, decode: Decode
) -> Done:
    """One request per image, `CALLERS` in flight, with aiohttp, the cheapest client."""
    answers, latencies_s = asyncio.run(_call_all(images[: task.count], url, encode))
    finished_at = contract.now()
    np.save(task.answers_path, np.array([decode(answer) for answer in answers], np.float32))
    return Done(
        items=len(answers),
        finished_at=finished_at,
        answers="file",
        figures=contract.latency_figures(latencies_s),
    )


async def _call_all(
    images: NDArray[np.uint8], url: str, encode: Encode
) -> tuple[list[bytes], list[float]]:
    """The answers, and how long each call took, in seconds."""
    answers, latencies_s = [b""] * len(images), [0.0] * len(images)
    numbers = iter(range(len(images)))
    connector = aiohttp.TCPConnector(limit=CALLERS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def caller() -> None:
            for number in numbers:
                body, headers = encode(images[number])
                began_s = time.perf_counter()
                async with session.post(url, data=body, headers=headers) as answer:
                    answer.raise_for_status()
                    answers[number] = await answer.read()
                latencies_s[number] = time.perf_counter() - began_s

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return answers, latencies_s
