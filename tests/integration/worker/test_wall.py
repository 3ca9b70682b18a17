"""A model that would end the process that loads it costs a worker nothing."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model_store.engines import keras_file, keras_setup
from model_store.testing import draft_for_test

from .conftest import START_S


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_model_that_ends_its_process_goes_back_and_the_worker_goes_on(
    deploy: Callable[..., Any], images: NDArray[np.uint8], wait_until: Callable[..., None]
) -> None:
    # given a model whose pooling crashes in native code, written by hand without a verdict
    deployment, start = deploy(engine="keras", items_per_shard=50)
    draft = draft_for_test(
        name="crash", item_shape=[8, 4], item_dtype="float32", classes=list("abcd")
    )
    deployment.models.publish(
        draft,
        artifact=_crashing(),
        golden_inputs=np.zeros((1, 8, 4), np.float32),
        golden_outputs=np.zeros((1, 4), np.float32),
        check=lambda _artifact: None,
    )
    start()
    wait_until(deployment.worker_pids, timeout_s=START_S)
    before = deployment.worker_pids()

    # when it is asked for before a good one
    crash = deployment.client.submit(np.zeros((3, 8, 4), np.float32), model="crash")
    wait_until(lambda: "ends with SIG" in deployment.log(), timeout_s=START_S)
    good = deployment.client.submit(images, model="m")

    # then the good one's job ends well in the same process, and the other's waits
    assert deployment.is_right(good, images)
    assert before == deployment.worker_pids()
    assert "RUNNING" == crash.status().state or "QUEUED" == crash.status().state


def _crashing() -> bytes:
    keras = keras_setup.import_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 4)),
            layers.MaxPooling1D(3, strides=1, padding="same"),
            layers.GlobalAveragePooling1D(),
        ]
    )
    with zipfile.ZipFile(io.BytesIO(keras_file.dump_model(model))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["pool_size"] = [2**30]
    members["config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
