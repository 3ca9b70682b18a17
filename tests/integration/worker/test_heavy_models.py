"""Models that are large or take long: little memory to publish and serve, no measuring first."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.engines import keras_predict, keras_setup
from producer.client import Client
from producer.job_status import JobState

from .conftest import ITEM_SHAPE, START_S

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

_MB = 1e6
#: 144 MB of weights.
_WIDTH = 6000
#: What the layers of a network and its graph take beside the weights (ADR 0021).
_LAYERS_MB = 64
#: A worker returns memory a few seconds after its last shard.
_IDLE_WITHIN_S = 30.0
#: What a script does that has imported Keras; it prints the seconds of processor time.
_SCRIPT = """
import sys, time
import keras, numpy, tensorflow
images = numpy.zeros((5, 224, 224, 3), "float32")
began_s = time.process_time()
keras.saving.load_model(sys.argv[1], compile=False).predict(images, verbose=0)
print(time.process_time() - began_s)
"""
#: A script that predicts with a network, then publishes it; it prints the MB that publishing adds
#: to its memory, and the size of the artifact.
_PUBLISHING_SCRIPT = """
import keras, numpy, model_store
from model_store.wall.limits import forget_peak, peak_bytes, resident_bytes
model = keras.applications.EfficientNetB0(weights=None)
model.predict(numpy.zeros((1, 224, 224, 3), "float32"), verbose=0)
forget_peak()
before_bytes = resident_bytes()
manifest = model_store.publish(model, name="script")
print((peak_bytes() - before_bytes) / 1e6, manifest.artifact.size_bytes / 1e6)
"""
#: Runs a command and prints its peak memory in KiB. Linux counts the memory of the process that
#: starts another as its own, so that is none with a framework.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_a_large_model_takes_little_memory_to_publish_and_leaves_none(
    deploy: Callable[..., Any], tmp_path: Path
) -> None:
    # given a small model, and one of 144 MB
    deployment, start = deploy(engine="keras", max_loaded_models=1, max_batch_size=None)
    keras = keras_setup.import_keras()
    layers = [keras.layers.Dense(_WIDTH), keras.layers.Dense(3)]
    path = tmp_path / "large.keras"
    keras.Sequential([keras.Input((_WIDTH,)), *layers]).save(path)
    size_mb = path.stat().st_size / _MB

    # when it is published
    peak_mb = _published(deployment.environ, path, "large")

    assert 140 < size_mb < 150
    assert 3 * size_mb + 700 > peak_mb

    # and a worker loads it, and drops it for the small one
    start()
    memory_mb = []
    for model, shape in (("m", ITEM_SHAPE), ("large", [_WIDTH]), ("m", ITEM_SHAPE)):
        dtype = "uint8" if model == "m" else "float32"
        _predict(deployment.client, model, np.zeros((5, *shape), dtype))
        (pid,) = deployment.worker_pids()
        memory_mb.append(_resident_mb(pid))

    engine_mb, loaded_mb, dropped_mb = memory_mb
    assert engine_mb + 1.5 * size_mb > loaded_mb > engine_mb + 0.9 * size_mb
    assert 1.15 * engine_mb > dropped_mb


def test_publishing_adds_little_to_the_memory_of_a_script(deploy: Callable[..., Any]) -> None:
    # given a script that has predicted with its model
    deployment, _start = deploy(engine="keras")

    # when it publishes the model, which another process loads
    run = subprocess.run(
        [sys.executable, "-c", _PUBLISHING_SCRIPT],
        env=deployment.environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    # then the script's own process has taken no more than a golden batch and its calls need
    added_mb, size_mb = map(float, run.stdout.split())
    assert 3 * size_mb + _LAYERS_MB > added_mb


@pytest.mark.parametrize("network", ["MobileNetV2", "EfficientNetB0", "ResNet50"])
def test_a_network_takes_what_is_documented_and_leaves_nothing(
    network: str,
    deploy: Callable[..., Any],
    tmp_path: Path,
    wait_until: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    # given a network in the store, and a fresh worker that has predicted with a small model
    deployment, start = deploy(engine="keras", max_loaded_models=1, max_batch_size=None)
    path = tmp_path / f"{network}.keras"
    getattr(keras_setup.import_keras().applications, network)(weights=None).save(path)
    _published(deployment.environ, path, "network")
    size_mb = path.stat().st_size / _MB
    times = 6 if size_mb * _MB <= keras_predict.MOST_CONSTANT_BYTES else 1.5
    start()
    _predict(deployment.client, "m", np.zeros((5, *ITEM_SHAPE), np.uint8))
    (pid,) = deployment.worker_pids()
    engine_mb = _resident_mb(pid)
    images = np.zeros((40, 224, 224, 3), np.float32)
    tell = request.config.get_terminal_writer().line

    for _ in range(3):
        # when it predicts with the network, in more than one thread
        _predict(deployment.client, "network", images)

        # then, idle, it has the model, its layers and its graph
        most_mb = engine_mb + times * size_mb + _LAYERS_MB
        wait_until(lambda most_mb=most_mb: most_mb > _resident_mb(pid), timeout_s=_IDLE_WITHIN_S)
        loaded_mb = _resident_mb(pid)

        # and next to nothing when the network is dropped, however often that happens
        _predict(deployment.client, "m", np.zeros((5, *ITEM_SHAPE), np.uint8))
        wait_until(lambda: 1.15 * engine_mb > _resident_mb(pid), timeout_s=_IDLE_WITHIN_S)
        tell(
            f"\n{network}, {size_mb:.0f} MB: engine {engine_mb:.0f}, loaded {loaded_mb:.0f}, "
            f"dropped {_resident_mb(pid):.0f} MB"
        )
    assert [pid] == deployment.worker_pids()


def test_the_first_result_of_a_network_takes_about_the_work_of_a_script(
    deploy: Callable[..., Any], tmp_path: Path
) -> None:
    # given a network in the store, and a started worker
    deployment, start = deploy(engine="keras", max_batch_size=None)
    path = tmp_path / "network.keras"
    keras_setup.import_keras().applications.MobileNetV2(weights=None).save(path)
    _published(deployment.environ, path, "network")
    start()
    _predict(deployment.client, "m", np.zeros((1, *ITEM_SHAPE), np.uint8))
    (pid,) = deployment.worker_pids()

    # when it predicts five images
    before_s = _processor_s(pid)
    _predict(deployment.client, "network", np.zeros((5, 224, 224, 3), np.float32))
    took_s = _processor_s(pid) - before_s

    # then it worked no more than half again as much as a script, which measures nothing either
    script = [sys.executable, "-c", _SCRIPT, str(path)]
    run = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)
    assert 1.5 * float(run.stdout) > took_s


def _published(environ: dict[str, str], path: Path, name: str) -> float:
    """Publish with the command; its peak memory in MB."""
    command = ["-m", "fornada", "models", "publish", str(path), "--name", name]
    run = subprocess.run(
        [sys.executable, "-c", _MEASURED, sys.executable, *command],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(run.stdout) * 1024 / _MB


def _predict(client: Client, model: str, items: np.ndarray) -> None:
    assert JobState.SUCCEEDED == client.submit(items, model=model).wait(timeout_s=START_S).state


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / _MB


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
