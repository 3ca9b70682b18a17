"""A model that would end the process that loads it costs a worker nothing."""

import io
import json
import re
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
@pytest.mark.timeout(600)
def test_a_model_that_ends_its_process_goes_back_and_the_worker_goes_on(
    deploy: Callable[..., Any], images: NDArray[np.uint8], wait_until: Callable[..., None]
) -> None:
    # given models without a verdict, whose pooling crashes in native code, or whose numbers are
    # as many as the square of a call's rows
    deployment, start = deploy(engine="keras", items_per_shard=50)
    items = {"crash": (_crashing(), (8, 4)), "grow": (_growing(), (2048,))}
    for name, (artifact, shape) in items.items():
        draft = draft_for_test(
            name=name, item_shape=shape, item_dtype="float32", classes=list("abcd")
        )
        deployment.models.publish(
            draft,
            artifact=artifact,
            golden_inputs=np.zeros((1, *shape), np.float32),
            golden_outputs=np.zeros((1, 4), np.float32),
            check=lambda _artifact: None,
        )
    start()
    wait_until(deployment.worker_pids, timeout_s=START_S)
    before = deployment.worker_pids()

    # when they are asked for before a good one
    jobs = [
        deployment.client.submit(np.zeros((3, *shape), np.float32), model=name)
        for name, (_, shape) in items.items()
    ]
    for name in items:
        # However the wall ends it: in time, of too much memory, or of a crash.
        why = re.compile(f"model {name}:1 in calls of .*its jobs go back to the queue")
        wait_until(lambda why=why: why.search(deployment.log()), timeout_s=2 * START_S)
    good = deployment.client.submit(images, model="m")

    # then the good one's job ends well in the same process, and the others' wait
    assert deployment.is_right(good, images)
    assert before == deployment.worker_pids()
    assert {job.status().state for job in jobs} <= {"RUNNING", "QUEUED"}


def _growing() -> bytes:
    keras = keras_setup.import_keras()
    items = keras.Input((2048,))
    found = items + keras.ops.max(keras.ops.outer(items, items))
    return keras_file.dump_model(keras.Model(items, keras.layers.Dense(4, name="dense")(found)))


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
