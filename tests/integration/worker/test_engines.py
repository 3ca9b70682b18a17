"""Workers on each engine: the model's own bytes, from the queue to the results."""

from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.jobs.store import JobStore
from model_store.engines import keras_file
from model_store.engines.golden import BFLOAT16_TOLERANCE

from ...arrays import compile_predict, predict_items
from .conftest import ITEM_SHAPE


def test_a_jobs_bytes_are_those_of_the_model_in_this_process(
    deploy: Callable[..., Any], images: np.ndarray
) -> None:
    deployment, start = deploy(engine="keras")
    start()

    job = deployment.client.submit(images, model="m", items_per_shard=37)

    assert deployment.is_right(job, images)
    assert (300, 0) == (job.status().items_ok, job.status().items_failed)


def _marked(backend: str, *values: object) -> Any:
    return pytest.param(
        *values,
        marks=pytest.mark.skipif(find_spec(backend) is None, reason=f"{backend} is missing"),
    )


_BACKENDS = [_marked(backend, backend) for backend in ("jax", "openvino")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        _marked("jax", "jax", ("jax {} float32 cpu", 1e-6)),
        _marked("jax", "jax-bf16", ("jax {} bfloat16 cpu", BFLOAT16_TOLERANCE)),
        _marked("openvino", "openvino", ("openvino {} float32", 1e-6)),
    ],
)
def test_a_worker_without_tensorflow_predicts_the_same_artifact(
    deploy: Callable[..., Any], images: np.ndarray, engine: str, expected: tuple[str, float]
) -> None:
    name, tolerance = expected
    deployment, start = deploy(engine=engine)
    start()

    job = deployment.client.submit(images, model="m", items_per_shard=100)

    np.testing.assert_allclose(
        deployment.model.predict(images), deployment.probabilities(job), rtol=0, atol=tolerance
    )
    outcome = JobStore(objects=deployment.objects).outcome(job.id, 0)
    assert outcome is not None
    assert name.format(version(name.split(maxsplit=1)[0])) == outcome.engine
    (pid,) = deployment.worker_pids()
    assert "tensorflow" not in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("backend", _BACKENDS)
def test_what_is_published_without_tensorflow_says_so_and_is_predicted_with_it(
    deploy: Callable[..., Any], images: np.ndarray, backend: str
) -> None:
    deployment, start = deploy(engine="keras")
    (deployment.folder / "m.keras").write_bytes(deployment.model.artifact)

    # When
    done = deployment.run(
        "models",
        "publish",
        str(deployment.folder / "m.keras"),
        "--name",
        "n",
        KERAS_BACKEND=backend,
    )
    assert 0 == done.returncode, done.stderr
    start()
    job = deployment.client.submit(images, model="n", items_per_shard=100)

    # Then
    assert {"fornada", "keras", "numpy", backend} == deployment.models.resolve("n").packages.keys()
    assert deployment.is_right(job, images)


@pytest.mark.slow
def test_an_exact_worker_gives_the_same_bytes_with_calls_of_any_size(
    deploy: Callable[..., Any], images: np.ndarray
) -> None:
    # given the model in this process, in float64, with calls of 7 items
    deployment, start = deploy(engine="keras", max_batch_size=13)
    model = keras_file.load_model(deployment.model.artifact, where="m", dtype="float64")
    predict = compile_predict(
        model, tile_items=7, item_shape=ITEM_SHAPE, item_dtype="uint8", exact=True
    )
    expected = predict_items(predict, images, tile_items=7)

    # when a worker has calls of 13
    start("--exact")
    job = deployment.client.submit(images, model="m", items_per_shard=100)

    assert expected.tobytes() == deployment.probabilities(job).tobytes()
    outcome = JobStore(objects=deployment.objects).outcome(job.id, 0)
    assert outcome is not None
    assert outcome.engine is not None
    assert outcome.engine.startswith("tensorflow ")
    assert outcome.engine.endswith(" float64")
    assert 13 == outcome.tile_items
