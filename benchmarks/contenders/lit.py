"""LitServe: one API with its dynamic batching, for whole objects and for single images."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contenders import http_driver
from benchmarks.contract import Done, Harness, Task

_MAX_BATCH_SIZE = 64
_BATCH_TIMEOUT_S = 0.005


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # installed in its own environment
    """Takes a `.npy` file as a form's field, or one image as base64 in JSON."""

    def __init__(self, model_path: Path, item_shape: list[int]) -> None:
        super().__init__(max_batch_size=_MAX_BATCH_SIZE, batch_timeout=_BATCH_TIMEOUT_S)
        self._model_path = model_path
        self._item_shape = item_shape

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load and warm the model, in the worker process."""
        self._model = contract.load_model(self._model_path)
        self._model.predict_on_batch(np.zeros((1, *self._item_shape), np.uint8))

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """Uint8 [items, *item_shape]."""
        # LitServe hands over the parsed body: a dict, or a form.
        if "image" in request:
            pixels = np.frombuffer(base64.b64decode(request["image"]), np.uint8)
            return pixels.reshape(1, *self._item_shape)
        return contract.from_npy(request["object"].file.read())

    def batch(self, inputs: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], list[int]]:
        """The rows of all requests, and the number of each."""
        return np.concatenate(inputs), [len(rows) for rows in inputs]

    def predict(self, batch: tuple[NDArray[np.uint8], list[int]]) -> Any:
        """Float32 [items, classes], and the requests' sizes."""
        rows, sizes = batch
        return self._model.predict_on_batch(rows), sizes

    def unbatch(self, output: Any) -> list[NDArray[np.float32]]:
        """The rows of each request."""
        probabilities, sizes = output
        return np.split(probabilities, np.cumsum(sizes)[:-1])

    def encode_response(self, output: NDArray[np.float32]) -> Any:
        """A list for one image, a `.npy` for more."""
        if len(output) == 1:
            return {"probabilities": output[0].tolist()}
        return Response(contract.to_npy(output), media_type="application/octet-stream")


def serve(port: int, model_path: str) -> None:
    """Run the server, in its own process."""
    api = Classifier(Path(model_path), [28, 28])
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, timeout=120, fast_queue=True
    )
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    images = harness.images("mlp")
    port = contract.free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["-m", __spec__.name, str(port), str(harness.folder / "mlp.keras")]

    def run(task: Task) -> Done:
        url = f"{base}/predict"
        if task.workload == "predict":
            return http_driver.run_calls(
                images,
                task,
                url=url,
                encode=lambda image: (
                    json.dumps({"image": base64.b64encode(image.tobytes()).decode()}).encode(),
                    {"Content-Type": "application/json"},
                ),
                decode=lambda answer: json.loads(answer)["probabilities"],
            )
        return http_driver.run_objects(
            task,
            url=url,
            encode=lambda data: {"fields": {"object": ("object.npy", data)}},
        )

    with contract.child(command) as server:
        http_driver.wait_ready(server, f"{base}/health")
        harness.serve(
            run,
            packages=["litserve", "keras", "tensorflow-cpu"],
            service_pid=server.pid,
            notes=(
                f"max_batch_size {_MAX_BATCH_SIZE}, batch_timeout {_BATCH_TIMEOUT_S} s, "
                f"fast_queue, one worker, predict_on_batch; {http_driver.OBJECT_THREADS} objects "
                f"or {http_driver.CALLERS} images in flight"
            ),
        )


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(int(sys.argv[1]), sys.argv[2])
    else:
        main()
