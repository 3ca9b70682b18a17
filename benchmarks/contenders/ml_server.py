"""MLServer: the Open Inference Protocol as JSON, with its adaptive batching."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contenders import http_driver
from benchmarks.contract import Done, Harness, Task

_MAX_BATCH_SIZE = 64
_BATCH_TIMEOUT_S = 0.005
_MODEL = "mlp"


def _encode(image: NDArray[np.uint8]) -> tuple[bytes, dict[str, str]]:
    given = {
        "name": "images",
        "shape": [1, *image.shape],
        "datatype": "UINT8",
        "data": image.ravel().tolist(),
    }
    return json.dumps({"inputs": [given]}).encode(), {"Content-Type": "application/json"}


@contextmanager
def _server(model: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The server, and its address."""
    ports = [contract.free_port() for _ in range(3)]
    settings = {
        "debug": False,
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "metrics_endpoint": None,
        "host": "127.0.0.1",
        # In the server's own process: half as fast again as with a process for the model.
        "parallel_workers": 0,
    }
    of_model = {
        "name": _MODEL,
        "implementation": "benchmarks.contenders.mlserver_runtime.Runtime",
        "max_batch_size": _MAX_BATCH_SIZE,
        "max_batch_time": _BATCH_TIMEOUT_S,
        "parameters": {"uri": str(model)},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(of_model))
        logging = "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
        (folder / "logging.conf").write_text(f"{logging}[logger_root]\nlevel=ERROR\nhandlers=\n")
        os.environ["MLSERVER_LOGGING_SETTINGS"] = str(folder / "logging.conf")
        with contract.child(["-m", "mlserver.cli.main", "start", str(folder)]) as server:
            yield server, f"http://127.0.0.1:{ports[0]}"


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    images = harness.images(_MODEL)
    with _server(harness.folder / f"{_MODEL}.keras") as (server, base):

        def run(task: Task) -> Done:
            return http_driver.run_calls(
                images,
                task,
                url=f"{base}/v2/models/{_MODEL}/infer",
                encode=_encode,
                decode=lambda answer: json.loads(answer)["outputs"][0]["data"],
            )

        http_driver.wait_ready(server, f"{base}/v2/models/{_MODEL}/ready")
        harness.serve(
            run,
            packages=["mlserver", "keras", "tensorflow-cpu"],
            service_pid=server.pid,
            notes=(
                f"max_batch_size {_MAX_BATCH_SIZE}, max_batch_time {_BATCH_TIMEOUT_S} s, in one "
                f"process, predict_on_batch, JSON; {http_driver.CALLERS} images in flight"
            ),
        )


if __name__ == "__main__":
    main()
