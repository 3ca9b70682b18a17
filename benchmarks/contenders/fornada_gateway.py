"""Fornada's gateway with one worker process and default settings, one image a request."""

import json
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contenders import fornada_worker, http_driver
from benchmarks.contenders.fornada_worker import TIMEOUT_S
from benchmarks.contract import Done, Harness, Task

_MODEL = "mlp"
_HEADER_LENGTH = "Inference-Header-Content-Length"
#: Before the pixels of a binary tensor.
_HEADER = json.dumps(
    {
        "inputs": [
            {
                "name": "inputs",
                "shape": [1, 28, 28],
                "datatype": "UINT8",
                "parameters": {"binary_data_size": 28 * 28},
            }
        ],
        # In microseconds: the worker may not be up yet.
        "parameters": {"binary_data_output": True, "timeout": int(TIMEOUT_S * 1e6)},
    }
).encode()

_Headers = dict[str, str]


def _as_npy(image: NDArray[np.uint8]) -> tuple[bytes, _Headers]:
    return contract.to_npy(image[np.newaxis]), {"Content-Type": "application/x-npy"}


def _of_json(answer: bytes) -> Any:
    return json.loads(answer)["outputs"]["outputs"][0]


def _as_tensor(image: NDArray[np.uint8]) -> tuple[bytes, _Headers]:
    return _HEADER + image.tobytes(), {_HEADER_LENGTH: str(len(_HEADER))}


def _of_tensor(answer: bytes) -> Any:
    # The JSON ends where ten floats begin.
    return np.frombuffer(answer[-40:], "<f4")


#: Path, request and answer of each protocol.
_PROTOCOLS: dict[str, tuple[str, Callable[..., tuple[bytes, _Headers]], Callable[[bytes], Any]]] = {
    "predict": (f"/v1/models/{_MODEL}/predict?timeout_s={TIMEOUT_S:g}", _as_npy, _of_json),
    "infer": (f"/v2/models/{_MODEL}/infer", _as_tensor, _of_tensor),
}


def main() -> None:
    """Serve the harness."""
    engine, protocol = sys.argv[1:]
    path, encode, decode = _PROTOCOLS[protocol]
    harness = Harness()
    images = harness.images(_MODEL)
    os.environ["FORNADA_API_KEY"] = key = secrets.token_hex(32)
    port = contract.free_port()
    base = f"http://127.0.0.1:{port}"

    def with_key(image: NDArray[np.uint8]) -> tuple[bytes, _Headers]:
        body, headers = encode(image)
        return body, {**headers, "Authorization": f"Bearer {key}"}

    def run(task: Task) -> Done:
        return http_driver.run_calls(images, task, url=base + path, encode=with_key, decode=decode)

    command = ["-P", "-m", "fornada", "gateway", "--port", str(port)]
    with fornada_worker.worker() as worker, contract.child(command) as server:
        http_driver.wait_ready(server, f"{base}/healthz")
        harness.serve(
            run,
            packages=[*fornada_worker.PACKAGES, "fastapi", "uvicorn"],
            service_pid=worker.pid,
            notes=(
                f"engine {engine}, {protocol}, one gateway and one worker process, default "
                f"settings; {http_driver.CALLERS} images in flight"
            ),
        )


if __name__ == "__main__":
    main()
