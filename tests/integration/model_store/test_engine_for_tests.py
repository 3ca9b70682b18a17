"""The engine `test` takes a job all the way through a worker, without an ML framework."""

import os
from pathlib import Path

import numpy as np

from fornada.jobs.outcome import JobState
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer.client import Client

_FRAMEWORKS = {"tensorflow", "keras", "openvino", "h5py"}


def test_a_worker_predicts_without_any_framework(tmp_path: Path) -> None:
    # given
    environ = {
        **os.environ,
        "FORNADA_ENGINE": "test",
        # Each import is a line of stderr, which is the workers' log.
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    items = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), np.uint8)
    with Stack(data_dir=tmp_path, workers=1, environ=environ) as stack:
        models = ModelStore(objects=S3ObjectStore.from_settings(stack.settings))
        predict = publish_for_test(models, item_shape=[28, 28], classes=["a", "b", "c"])
        client = Client.from_settings(stack.settings)

        # when
        job = client.submit(items, model="m", items_per_shard=300)
        status = job.wait(timeout_s=60)

        # then
        assert JobState.SUCCEEDED == status.state
        assert predict(items).tobytes() == job.results().probabilities.tobytes()
        outcome = JobStore(objects=models.objects).outcome(job.id, 3)
        assert outcome is not None
        assert ("test 1", 100) == (outcome.engine, outcome.item_count)
        client.close()
    imported = {
        line.rpartition("|")[2].strip()
        for line in (stack.logs_dir / "workers.log").read_text().splitlines()
        if line.startswith("import time:")
    }
    assert "worker.process" in imported
    assert set() == imported & _FRAMEWORKS
