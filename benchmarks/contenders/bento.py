"""BentoML: one endpoint for files, one with adaptive batching for single images."""

import json
import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contenders import http_driver
from benchmarks.contract import Done, Harness, Task

_MAX_BATCH_SIZE = 64


@bentoml.service(
    workers=1,
    threads=http_driver.OBJECT_THREADS,
    traffic={"timeout": 120, "max_concurrency": 1000},
    # Off: the other contenders pay for neither.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classifier:
    """Answers with probabilities."""

    def __init__(self) -> None:
        self._model = contract.load_model(Path(os.environ["BENCH_FOLDER"], "mlp.keras"))
        self._model.predict_on_batch(np.zeros((1, 28, 28), np.uint8))

    @bentoml.api  # type: ignore[untyped-decorator]  # installed in its own environment
    def classify_file(self, images: Path, context: bentoml.Context) -> Path:
        """A `.npy` of uint8 [items, 28, 28] → one of float32 [items, classes]."""
        probabilities = self._model.predict_on_batch(np.load(images))
        path = Path(context.temp_dir, "probabilities.npy")
        np.save(path, probabilities)
        return path

    @bentoml.api(batchable=True, max_batch_size=_MAX_BATCH_SIZE)  # type: ignore[untyped-decorator]  # ditto
    def classify(self, images: np.ndarray) -> np.ndarray:
        """Uint8 [items, 28, 28] → float32 [items, classes]; JSON in both directions."""
        probabilities: NDArray[np.float32] = self._model.predict_on_batch(images.astype(np.uint8))
        return probabilities


def _encode_image(image: NDArray[np.uint8]) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"images": [image.tolist()]}).encode()
    return body, {"Content-Type": "application/json"}


def _encode_object(data: bytes) -> dict[str, Any]:
    return {"fields": {"images": ("images.npy", data)}}


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    images = harness.images("mlp")
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    port = contract.free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["-m", "bentoml", "serve", f"{__spec__.name}:Classifier", "--port", str(port)]

    def run(task: Task) -> Done:
        if task.workload == "predict":
            return http_driver.run_calls(
                images,
                task,
                url=f"{base}/classify",
                encode=_encode_image,
                decode=lambda answer: json.loads(answer)[0],
            )
        return http_driver.run_objects(task, url=f"{base}/classify_file", encode=_encode_object)

    with contract.child(command) as server:
        http_driver.wait_ready(server, f"{base}/readyz")
        harness.serve(
            run,
            packages=["bentoml", "keras", "tensorflow-cpu"],
            service_pid=server.pid,
            notes=(
                f"batchable, max_batch_size {_MAX_BATCH_SIZE}, "
                f"one worker of {http_driver.OBJECT_THREADS} threads, predict_on_batch; objects "
                f"as file uploads; {http_driver.OBJECT_THREADS} objects or {http_driver.CALLERS} "
                "images in flight"
            ),
        )


if __name__ == "__main__":
    main()
