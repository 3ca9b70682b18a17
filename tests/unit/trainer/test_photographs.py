"""A model trained on a folder of photographs is as good on these files as its manifest says."""

from pathlib import Path

import numpy as np
from PIL import Image

from fornada.formats.images import decode_item
from fornada.formats.rows import Rows
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines.keras_file import load_model
from model_store.publishing.checked import outputs_of
from model_store.store import ModelStore
from trainer import job
from trainer.data.folder import FolderOptions, load_folder
from trainer.recipes.plan import TrainingPlan

from ...walls import no_wall

_ORIENTATION = 0x0112


def _photographs(folder: Path, *, count: int, seed: int) -> None:
    """Stripes or spots in files of any size, format and orientation."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        for name in ("spots", "stripes"):
            height, width = rng.integers(70, 160, 2)
            rows, columns = np.mgrid[:height, :width]
            waves = np.sin(rows / 5) * (np.sin(columns / 5) if name == "spots" else 1)
            pixels = 128 + 80 * waves[..., np.newaxis] + rng.normal(0, 12, (height, width, 3))
            exif = Image.Exif()
            exif[_ORIENTATION] = int(rng.integers(1, 9))
            path = folder / name / f"{number}.{('jpg', 'png', 'webp')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(path, exif=exif)


def test_a_worker_sees_the_pixels_of_the_training_and_is_as_accurate(tmp_path: Path) -> None:
    # given
    _photographs(tmp_path / "train", count=20, seed=0)
    _photographs(tmp_path / "test", count=6, seed=1)
    (tmp_path / "test" / "spots" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    dataset = load_folder(tmp_path, FolderOptions(size=(72, 80), resize="crop"))
    models = ModelStore(objects=InMemoryObjectStore(), open_wall=no_wall)

    # when
    plan = TrainingPlan(epochs=4, batch_size=8, learning_rate=0.003)
    manifest = job.train(dataset, name="patterns", models=models, plan=plan)

    # then
    assert "photos" == (manifest.training and manifest.training.recipe)
    assert ("binary", ["spots", "stripes"], 0.5) == (
        manifest.output.kind,
        manifest.output.classes,
        manifest.output.threshold,
    )
    assert ("pixels", "uint8", [72, 80, 3], dataset.image) == (
        manifest.input.name,
        manifest.input.dtype,
        manifest.input.shape,
        manifest.input.image,
    )
    files = [file for file in sorted((tmp_path / "test").rglob("*.*")) if file.stem != "torn"]
    items = np.stack(
        [decode_item(file.read_bytes(), taken=manifest.input, where="file") for file in files]
    )
    np.testing.assert_array_equal(dataset.test_items, items)
    model = load_model(models.fetch(manifest.artifact), where="the artifact")
    found = outputs_of(model, Rows(items), takes=manifest.inputs, tile_items=4).only[:, 0] >= 0.5
    truth = np.array([file.parent.name == "stripes" for file in files])
    assert manifest.metrics["test_accuracy"] == np.float32((found == truth).mean())
    assert b"spots or stripes" in models.fetch(manifest.files["report.html"])
