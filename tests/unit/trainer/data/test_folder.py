"""Photographs of any size and format in a folder per class become what workers decode."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.errors import InputError
from fornada.formats.images import decode_item
from fornada.tensors import InputTensor
from trainer.data.dataset import Dataset
from trainer.data.folder import FolderOptions, load_folder

_ORIENTATION = 0x0112


def _image(
    path: Path, value: int, *, size: tuple[int, int] = (6, 4), mode: str = "L", turned: int = 1
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[_ORIENTATION] = turned
    # A gradient, so that turning, cropping and stretching all change the pixels.
    image = Image.linear_gradient("L").resize(size).point(lambda grey: min(grey // 4 + value, 255))
    image.convert(mode).save(path, exif=exif)


def _photographs(folder: Path) -> Path:
    """Files of ten sizes and six formats in two classes, some on their side, two of them broken."""
    suffixes = ("jpg", "png", "webp", "tiff", "bmp", "gif")
    for number in range(10):
        name = f"{number}.{suffixes[number % 6]}"
        size = (60 + 13 * number, 90 - 5 * number)
        mode = "L" if number == 7 else "RGB"
        turned = 6 if number % 6 == 0 else 1
        _image(folder / "cat" / name, 10, size=size, mode=mode, turned=turned)
        _image(folder / "dog" / "more" / name, 180, size=size[::-1], mode=mode, turned=turned)
    (folder / "cat" / "torn.jpg").write_bytes((folder / "cat" / "0.jpg").read_bytes()[:300])
    (folder / "cat" / "labels.csv").write_text("a,b")
    (folder / "dog" / "empty.png").write_bytes(b"")
    (folder / "stray.png").write_bytes((folder / "cat" / "1.png").read_bytes())
    for litter in (".hidden.png", "Thumbs.db", ".DS_Store"):
        (folder / "cat" / litter).write_bytes(b"?")
    (folder / "notes.txt").write_text("not an image")
    return folder


def _rows(dataset: Dataset) -> set[tuple[int, bytes]]:
    """Class and pixels of all items."""
    return {
        (int(target), item.tobytes())
        for items, targets in dataset.splits.values()
        for item, target in zip(items, targets, strict=True)
    }


def test_items_are_what_a_worker_decodes_by_the_published_preset(tmp_path: Path) -> None:
    folder = _photographs(tmp_path / "pets")
    pixels: set[bytes] = set()
    for options in (
        FolderOptions(),
        FolderOptions(size=(40, 60)),
        FolderOptions(size=(40, 60), resize="crop"),
        FolderOptions(size=(40, 60), resize="pad"),
    ):
        # when
        dataset = load_folder(folder, options)

        # then
        assert ("pets", "binary", ["cat", "dog"]) == (dataset.name, dataset.kind, dataset.classes)
        assert (*(options.size or (224, 224)), 3) == dataset.item_shape
        taken = InputTensor(
            name="pixels", dtype="uint8", shape=list(dataset.item_shape), image=dataset.image
        )
        expected = {
            (label, decode_item(file.read_bytes(), taken=taken, where=str(file)).tobytes())
            for label, name in enumerate(dataset.classes)
            for file in (folder / name).rglob("[0-9].*")
        }
        assert expected == _rows(dataset)
        assert 20 == len(dataset.train_items) + len(dataset.test_items)
        pixels.add(dataset.train_items.tobytes())
    assert 4 == len(pixels)


def test_what_is_no_image_is_left_out_with_the_reason_or_refused(tmp_path: Path) -> None:
    folder = _photographs(tmp_path)

    dataset = load_folder(folder, FolderOptions())

    reasons = {Path(path).name: reason for path, reason in dataset.left_out.items()}
    assert {"torn.jpg", "labels.csv", "empty.png", "stray.png"} == reasons.keys()
    assert "labels.csv is not an image" in reasons["labels.csv"]
    assert "is an empty file" in reasons["empty.png"]
    assert "torn.jpg is a broken image" in reasons["torn.jpg"]
    assert "stray.png is in no folder of a class" in reasons["stray.png"]
    with pytest.raises(InputError, match=r"stray\.png .*; leave out --strict to train without it"):
        load_folder(folder, FolderOptions(strict=True))
    (folder / "stray.png").unlink()
    (folder / "cat" / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"broken image|empty file"):
        load_folder(folder, FolderOptions(strict=True))


def test_small_images_of_one_size_keep_it_and_grey_ones_have_no_channels(tmp_path: Path) -> None:
    for number in range(5):
        _image(tmp_path / "dog" / f"{number}.png", 180 + number)
        _image(tmp_path / "cat" / "more" / f"{number}.jpg", 20)

    dataset = load_folder(tmp_path, FolderOptions())

    assert (4, 6) == dataset.item_shape
    assert (8, 2) == (len(dataset.train_items), len(dataset.test_items))
    for items, targets in dataset.splits.values():
        np.testing.assert_array_equal(items.mean(axis=(1, 2)) > 100, targets == 1)


def test_deep_grey_keeps_its_upper_bits(tmp_path: Path) -> None:
    for name, grey in (("dark", 40 << 8), ("light", 200 << 8)):
        (tmp_path / name).mkdir()
        for number in range(5):
            deep = Image.fromarray(np.full((20, 30), grey, np.uint16))
            deep.save(tmp_path / name / f"{number}.png")

    dataset = load_folder(tmp_path, FolderOptions(size=(9, 9)))

    assert {(0, bytes([40] * 81)), (1, bytes([200] * 81))} == _rows(dataset)


def test_train_and_test_folders_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                _image(tmp_path / split / name / f"{number}.png", 9, mode="RGB")

    dataset = load_folder(tmp_path, FolderOptions())

    assert ((6, 4, 6, 3), (2, 4, 6, 3)) == (dataset.train_items.shape, dataset.test_items.shape)
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(InputError, match="has the class 'cow'"):
        load_folder(tmp_path, FolderOptions())


def test_folders_without_classes_or_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="has 1 folders; it needs one per class"):
        load_folder(tmp_path, FolderOptions())
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="has no images in its folders"):
        load_folder(tmp_path, FolderOptions())


def test_more_images_than_memory_are_refused_before_one_is_decoded(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(2):
            _image(tmp_path / name / f"{number}.png", 0, size=(300, 300), mode="RGB")

    with pytest.raises(InputError, match=r"the 4 images of .* at 1000x1000 pixels, and there is"):
        load_folder(tmp_path, FolderOptions(size=(1000, 1000), limit_bytes=11_999_999))

    assert load_folder(tmp_path, FolderOptions(size=(1000, 1000), limit_bytes=12_000_000))
