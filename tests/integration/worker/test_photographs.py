"""Photographs of all sizes, formats and orientations to Keras models of fixed and open sizes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.formats.images import decode_item
from fornada.tensors import InputTensor
from model_store.store import ModelStore
from producer import LocalFiles

from ...photos import add_litter, make_photos
from ...walls import no_wall
from .conftest import START_S

pytestmark = pytest.mark.slow

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]


def _network(sides: tuple[int | None, int | None]) -> Any:
    import keras  # noqa: PLC0415 - seconds

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((*sides, 3), name="photo"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    items = np.zeros((4, *(side or 32 for side in sides), 3), np.float32)
    model.fit(items, np.zeros(4), epochs=1, verbose=0)
    return model, items


def _expected(model: Any, taken: InputTensor, folder: Path, name: str) -> np.ndarray | None:
    try:
        item = decode_item((folder / name).read_bytes(), taken=taken, where=name)
    except InputError:
        return None
    return np.asarray(model(item[np.newaxis].astype(np.float32)))[0]


@pytest.mark.parametrize("sides", [(48, 64), (None, None)])
def test_each_photograph_gives_what_keras_gives(
    deploy: Deploy, tmp_path: Path, sides: tuple[int | None, int | None]
) -> None:
    from model_store import publish  # noqa: PLC0415 - imports Keras

    deployment, start = deploy(engine="keras")
    model, golden = _network(sides)
    folder = tmp_path / "photos"
    photos = make_photos(folder)
    add_litter(folder)
    how = {"resize": "stretch" if sides[0] else "none"}
    manifest = publish(
        model,
        name="photos",
        golden=golden,
        image=how,
        store=ModelStore(objects=deployment.objects, open_wall=no_wall),
    )
    start()
    files = LocalFiles(paths=[folder])

    job = deployment.client.submit(files, model="photos", items_per_shard=20)

    status, results = job.wait(timeout_s=START_S), job.results()
    expected = {p.name: _expected(model, manifest.input, folder, p.name) for p in photos}
    assert [name for name, row in expected.items() if row is None] == sorted(
        item.item_id for item in job.item_errors()
    )
    assert sorted(p.name for p in photos if p.problem) == sorted(
        name for name, row in expected.items() if row is None
    )
    for name, row in zip(results.item_ids, results.probabilities, strict=True):
        if (want := expected[name]) is not None:
            np.testing.assert_allclose(want, row, atol=2e-5)
    assert "PARTIAL" == status.state
    assert 1 == files.left_out.count
    assert (status.orientations_ignored or 0) > 0
    # and any split, any worker and a retry give the same
    deployment.settings = deployment.settings.model_copy(update={"worker_threads": 1})
    start()
    rows = {results.probabilities.tobytes()}
    for per_shard in (1, 7, len(photos)):
        again = deployment.client.submit(
            LocalFiles(paths=[folder]), model="photos", items_per_shard=per_shard
        )
        again.wait(timeout_s=START_S)
        assert results.errors == again.results().errors
        rows.add(again.results().probabilities.tobytes())
        assert deployment.client.verify(again.id, timeout_s=START_S).same
    assert 1 == len(rows)
    retry = deployment.client.retry_failed(job.id)
    assert "FAILED" == retry.wait(timeout_s=START_S).state
    assert [(item.item_id, item.reason) for item in job.item_errors()] == [
        (item.item_id, item.reason) for item in retry.item_errors()
    ]
