"""Paths of the command line: what is found, in which order, with which ids, and what is refused."""

import gzip
import io
import os
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.errors import FornadaError, InputError, LocalDiskError, UsageError
from producer.inputs.interface import ItemBlock
from producer.inputs.paths import read_blocks

SAMPLE = Path(__file__).parents[5] / "shared" / "data" / "fashion-mnist-sample"
SHAPE = (4, 5)
IMAGES = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def write_image(path: Path, pixels: np.ndarray = IMAGES[0]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def to_idx(array: np.ndarray) -> bytes:
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sides + array.tobytes()


def read(*paths: Path | str, max_block_bytes: int = 10_000) -> list[ItemBlock]:
    texts = [str(path) for path in paths]
    return list(read_blocks(texts, item_shape=SHAPE, max_block_bytes=max_block_bytes))


def images_of(blocks: list[ItemBlock]) -> np.ndarray:
    return np.concatenate([block.images for block in blocks])


def ids_of(blocks: list[ItemBlock]) -> list[str]:
    return [item_id for block in blocks for item_id in block.item_ids or []]


def test_npy_is_read_in_blocks_without_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)

    blocks = read(tmp_path / "a.npy", max_block_bytes=2 * 20)

    assert [2, 2, 2] == [len(block.images) for block in blocks]
    assert [None] * 3 == [block.item_ids for block in blocks]
    assert str(tmp_path / "a.npy") == blocks[0].where
    np.testing.assert_array_equal(IMAGES, images_of(blocks))
    # and an item larger than a block is a block
    assert 6 == len(read(tmp_path / "a.npy", max_block_bytes=1))


def test_a_large_npy_is_never_all_in_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((500_000, *SHAPE), np.uint8))
    tracemalloc.start()

    items = sum(
        len(block.images)
        for block in read_blocks(
            [str(tmp_path / "a.npy")], item_shape=SHAPE, max_block_bytes=100_000
        )
    )

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 500_000 == items
    assert peak_bytes < 1_000_000


def test_a_grey_axis_fits(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES[..., np.newaxis])

    np.testing.assert_array_equal(IMAGES, images_of(read(tmp_path / "a.npy")))


def test_npz_is_read_in_the_archives_order(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", second=IMAGES[3:], first=IMAGES[:3])

        blocks = read(tmp_path / "a.npz", max_block_bytes=40)

        assert [f"{tmp_path}/a.npz:second", f"{tmp_path}/a.npz:first"] == list(
            dict.fromkeys(block.where for block in blocks)
        )
        np.testing.assert_array_equal(np.roll(IMAGES, 3, axis=0), images_of(blocks))


def test_idx_is_read_in_blocks(tmp_path: Path) -> None:
    data = to_idx(IMAGES)
    for name, stored in (("idx3-ubyte", data), ("idx3-ubyte.gz", gzip.compress(data, mtime=0))):
        (tmp_path / name).write_bytes(stored)

        blocks = read(tmp_path / name, max_block_bytes=40)

        assert 3 == len(blocks)
        np.testing.assert_array_equal(IMAGES, images_of(blocks))


def test_vectors_and_token_sequences_are_read_as_they_are(tmp_path: Path) -> None:
    features = np.arange(26, dtype=np.float64).reshape(2, 13) / 3
    tokens = np.arange(8, dtype=np.int64).reshape(2, 4)
    np.save(tmp_path / "features.npy", features)
    np.savez_compressed(tmp_path / "tokens.npz", tokens)

    (of_features,) = read_blocks(
        [str(tmp_path / "features.npy")], item_shape=[13], max_block_bytes=1024
    )
    (of_tokens,) = read_blocks([str(tmp_path / "tokens.npz")], item_shape=[4], max_block_bytes=1024)

    np.testing.assert_array_equal(features, of_features.images, strict=True)
    np.testing.assert_array_equal(tokens, of_tokens.images, strict=True)


def test_a_folder_is_read_with_all_below_it_by_name(tmp_path: Path) -> None:
    for number, name in enumerate(["b/2.png", "b/1.JPG", "a.png", ".hidden.txt", ".git/x"]):
        write_image(tmp_path / "photos" / name, IMAGES[number])

    blocks = read(tmp_path / "photos", max_block_bytes=40)

    assert ["a.png", "b/1.JPG", "b/2.png"] == ids_of(blocks)
    assert [2, 1] == [len(block.images) for block in blocks]
    np.testing.assert_array_equal(IMAGES[[2, 1, 0]], images_of(blocks))


def test_a_glob_is_expanded_and_gives_the_same_ids_as_the_shells(tmp_path: Path) -> None:
    names = [
        write_image(tmp_path / "photos/b.png", IMAGES[1]),
        write_image(tmp_path / "photos/a.png", IMAGES[0]),
    ]
    (tmp_path / "photos/notes.txt").write_text("not an image")

    for pattern in ("*.png", "**/*.png", "[ab].png"):
        blocks = read(f"{tmp_path}/photos/{pattern}")
        assert ["a.png", "b.png"] == ids_of(blocks)
        np.testing.assert_array_equal(IMAGES[:2], images_of(blocks))
    assert ["a.png", "b.png"] == ids_of(read(*sorted(names)))


def test_a_glob_reads_the_folders_that_it_matches(tmp_path: Path) -> None:
    write_image(tmp_path / "photos/cats/1.png")
    write_image(tmp_path / "photos/dogs/1.png")

    assert ["cats/1.png", "dogs/1.png"] == ids_of(read(tmp_path / "photos/*"))


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a[1].png")

    assert ["a[1].png"] == ids_of(read(path))


def test_ids_stay_distinct_among_folders_relative_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "one/1.png")
    write_image(tmp_path / "two/1.png")

    assert ["one/1.png", "two/1.png"] == ids_of(read(tmp_path / "one", tmp_path / "two"))
    assert ["one/1.png", "two/1.png"] == ids_of(read("one", tmp_path / "two"))


def test_rows_of_arrays_among_images_have_ids_too(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", IMAGES[0])
    np.save(tmp_path / "a.npy", IMAGES[1:4])
    np.savez(tmp_path / "b.npz", x=IMAGES[4:])

    blocks = read(
        tmp_path / "1.png", tmp_path / "a.npy", tmp_path / "b.npz", max_block_bytes=2 * 20
    )

    expected = ["1.png", "a.npy#0", "a.npy#1", "a.npy#2", "b.npz:x#0", "b.npz:x#1"]
    assert expected == ids_of(blocks)
    np.testing.assert_array_equal(IMAGES, images_of(blocks))


def test_the_kind_is_what_the_file_holds_not_what_it_is_called(tmp_path: Path) -> None:
    write_image(tmp_path / "image.npy", IMAGES[0])
    with (tmp_path / "array.png").open("wb") as file:
        np.save(file, IMAGES[1:])

    blocks = read(tmp_path / "image.npy", tmp_path / "array.png")

    np.testing.assert_array_equal(IMAGES, images_of(blocks))


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_not_text_gets_a_printable_id(tmp_path: Path) -> None:
    write_image(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")))

    assert [r"\xff.png"] == ids_of(read(tmp_path))


def npz_bytes(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


HUGE = (
    b"\x93NUMPY\1\0"
    + struct.pack("<H", 80)
    + (b"{'descr': '|u1', 'fortran_order': False, 'shape': (5000000000, 4, 5)}".ljust(80))
)


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for name, data, reason in (
        ("a.npy", b"", "is an empty file"),
        ("a.npy", npy_bytes(IMAGES)[:-1], "claims 120 bytes .* and has 119; it is truncated"),
        ("a.npy", npy_bytes(IMAGES)[:40], "cut off"),
        ("a.npy", npy_bytes(IMAGES) + b"\0", "and has 121; it is truncated or damaged"),
        ("a.npy", npy_bytes(np.array([None])), "holds Python objects, which are never loaded"),
        ("a.npy", HUGE + bytes(1000), "claims 100000000000 bytes .* and has 1000"),
        ("a.npy", npy_bytes(IMAGES[:0]), "is empty; give at least one item"),
        ("a.npy", npy_bytes(np.array(1, np.uint8)), "is empty; give at least one item"),
        ("a.npy", npy_bytes(IMAGES[:, :, :4]), r"items of shape \(4, 4\), but the model takes \(4"),
        ("a.npz", npz_bytes("a.npy", npy_bytes(IMAGES))[:-30], "damaged"),
        ("a.npz", npz_bytes("a.npy", npy_bytes(IMAGES)[:-1]), "a.npz:a claims 120 bytes"),
        ("a.npz", npz_bytes("a.npy", HUGE), "a.npz:a claims 100000000000 bytes .* and has 0"),
        ("a.npz", npz_bytes("a.npy", npy_bytes(np.array([None]))), "holds Python objects"),
        ("a.npz", npz_bytes("notes.txt", b"hello"), "a.npz:notes.txt is not a readable .npy"),
        ("a.npz", npz_bytes("a", b"")[:0] + b"PK\5\6" + bytes(18), "is an empty archive"),
        ("a-ubyte", to_idx(IMAGES)[:-1], "claims 120 bytes .* and has 119"),
        ("a-ubyte.gz", gzip.compress(to_idx(IMAGES), mtime=0)[:-9], "damaged gzip file"),
        (
            "a-ubyte.gz",
            gzip.compress(to_idx(IMAGES)[:-1], mtime=0),
            "claims 120 bytes .* and has 119",
        ),
        ("a-ubyte.gz", gzip.compress(b"hello", mtime=0), "is not an IDX file"),
        (
            "labels.gz",
            gzip.compress(to_idx(IMAGES[0, 0]), mtime=0),
            r"items of shape \(\), but the model",
        ),
        ("a.gif", b"GIF89a", r"is of no known kind .*; give \.npy"),
        ("a.csv", b"1,2,3", "is of no known kind"),
    ):
        (tmp_path / name).write_bytes(data)

        with pytest.raises(InputError, match=reason) as caught:
            read(tmp_path / name)

        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_member_of_an_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(IMAGES.tobytes()) + 7] ^= 1
    (tmp_path / "a.npz").write_bytes(data)

    with pytest.raises(InputError, match=r"a\.npz is damaged \(Bad CRC-32"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("pattern", ["", "*"])
def test_bad_files_among_images_are_items_with_the_reason(tmp_path: Path, pattern: str) -> None:
    # given a folder as people have them
    folder = tmp_path / "photos"
    good = write_image(folder / "a.png", IMAGES[1])
    for name, data in {
        "b.png": b"",
        "c.png": good.read_bytes()[:-20],
        "labels.csv": b"a,b",
        "Thumbs.db": b"\xd0\xcf",
        "desktop.ini": b"[x]",
        ".DS_Store": b"x",
    }.items():
        (folder / name).write_bytes(data)
    write_image(folder / "z.png", IMAGES[2])

    # when
    (block,) = read(folder / pattern if pattern else folder)

    # then the images are there, and the others say what is wrong with them
    assert ["a.png", "b.png", "c.png", "labels.csv", "z.png"] == ids_of([block])
    np.testing.assert_array_equal(IMAGES[[1, 2]], block.images[[0, 4]])
    assert [1, 2, 3] == list(block.errors)
    for index, why in {
        1: "b.png is an empty file",
        2: "broken image (Truncated",
        3: "labels.csv is ",
    }.items():
        assert why in block.errors[index]


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.txt").touch()

    with pytest.raises(InputError, match=r"b\.txt is not a PNG or JPEG file.*or use a glob"):
        read(tmp_path)


def test_a_linked_folder_is_not_passed_over(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere/a.png")
    write_image(tmp_path / "photos/a.png")
    (tmp_path / "photos/more").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError, match="photos/more is a link to a folder"):
        read(tmp_path / "photos")


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    for path, reason in (
        ("missing.npy", "missing.npy does not exist; check the path"),
        ("*.npy", r"\*\.npy matches no files; check the pattern"),
        ("", "holds no PNG or JPEG files"),
    ):
        with pytest.raises(InputError, match=reason):
            read(tmp_path / path)


def test_no_paths_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no input was given"):
        read()


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png").chmod(0)

    with pytest.raises(InputError, match="may not be read by this user"):
        read(tmp_path / "a.png")


def test_a_path_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match="cannot be read"):
        read(tmp_path / ("x" * 5000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InputError, match="is not a regular file"):
        read(tmp_path / "pipe")


def test_every_path_is_checked_before_the_first_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    paths = [str(tmp_path / "a.npy"), str(tmp_path / "missing.npy")]

    with pytest.raises(FornadaError, match="does not exist"):
        read_blocks(paths, item_shape=SHAPE, max_block_bytes=100)


def test_a_file_that_shrinks_meanwhile_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((100_000, *SHAPE), np.uint8))
    blocks = read_blocks([str(path)], item_shape=SHAPE, max_block_bytes=100_000)
    next(blocks)

    os.truncate(path, 1_000_000)

    with pytest.raises(InputError, match="truncated"):
        list(blocks)
