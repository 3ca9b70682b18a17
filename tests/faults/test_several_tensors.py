"""A model of two inputs and two outputs, while its workers are killed."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model_store.store import ModelStore

from .rig.deployment import END_WITHIN_S, ITEMS_PER_SHARD, Deployment
from .rig.fault_control import FaultControl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.timeout(300),
]

_SHARDS = 60


def _publish(deployment: Deployment) -> None:
    """A photograph and a text of any length in; a mask and classes out."""
    from model_store.engines import keras_setup  # noqa: PLC0415 - seconds
    from model_store.publishing.script import publish  # noqa: PLC0415 - as above

    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(5)
    photo = keras.Input((8, 8, 1), dtype="uint8", name="photo")
    words = keras.Input((None,), dtype="int32", name="words")
    layers = keras.layers
    mask = layers.Conv2D(2, 3, padding="same", activation="softmax")(
        layers.Rescaling(1 / 255)(photo)
    )
    read = layers.GlobalAveragePooling1D()(layers.Embedding(50, 4)(words))
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(mask), read])
    outputs = {"mask": mask, "kind": layers.Dense(3, activation="softmax")(both)}
    model = keras.Model({"photo": photo, "words": words}, outputs)
    publish(model, name="two", history={}, store=ModelStore(objects=deployment.objects))


def _items(item_count: int) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "photo": rng.integers(0, 256, (item_count, 8, 8, 1), np.uint8),
        "words": [rng.integers(0, 50, 1 + n % 5).astype(np.int32) for n in range(item_count)],
    }


def test_no_byte_of_an_output_depends_on_killed_workers(
    deployment: Deployment, faults: FaultControl, wait_until: Callable[..., None]
) -> None:
    # given a job that nothing disturbs, in one shard
    _publish(deployment)
    items, client = _items(_SHARDS * ITEMS_PER_SHARD), deployment.client()
    undisturbed = client.submit(items, model="two", items_per_shard=10_000)
    undisturbed.wait(timeout_s=END_WITHIN_S)

    # when workers are killed over the same in many shards
    faults.slow_down()
    job = client.submit(items, model="two")
    for done_count in (1, _SHARDS // 2):
        wait_until(lambda least=done_count: deployment.done_count(job) >= least, timeout_s=90)
        os.kill(min(deployment.worker_pids()), signal.SIGKILL)
    assert "SUCCEEDED" == job.wait(timeout_s=END_WITHIN_S).state

    # then every output of every item is the same
    assert _SHARDS == len(job.manifest.shards)
    expected, found = undisturbed.results().outputs, job.results().outputs
    assert {"mask": (480, 8, 8, 2), "kind": (480, 3)} == {
        name: array.shape for name, array in found.items()
    }
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes()
