"""Paths of the command line: what is found, in which order, with which ids, and what is refused."""

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.errors import FornadaError, InputError, LocalDiskError, UsageError
from fornada.tensors import InputTensor
from producer.inputs import named_arrays
from producer.inputs.interface import Block, ItemBlock, LocalFiles, Selection, Signature
from producer.inputs.local_files import read_blocks

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


def blocks_of(
    *paths: Path | str,
    item_shape: tuple[int | None, ...] = SHAPE,
    max_file_bytes: int = 10_000,
    strict: bool = False,
    files: LocalFiles | None = None,
) -> Iterator[Block]:
    taken = InputTensor(name="x", dtype="uint8", shape=list(item_shape))
    return read_blocks(
        files or LocalFiles(paths=paths),
        Signature(inputs=[taken], model="the model"),
        max_file_bytes=max_file_bytes,
        strict=strict,
    )


def read(*paths: Path | str, **how: Any) -> list[Any]:
    return list(blocks_of(*paths, **how))


def images_of(blocks: list[ItemBlock]) -> np.ndarray:
    return np.concatenate([block.rows.only for block in blocks])


def ids_of(blocks: list[Block]) -> list[str]:
    ids: list[str] = []
    for block in blocks:
        ids += (block.item_ids or []) if isinstance(block, ItemBlock) else [block.item_id or ""]
    return ids


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two items."""
    monkeypatch.setattr(named_arrays, "_BLOCK_BYTES", 2 * 20)


@pytest.mark.usefixtures("small_blocks")
def test_npy_is_read_in_blocks_without_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)

    blocks = read(tmp_path / "a.npy")

    assert [2, 2, 2] == [len(block.rows.only) for block in blocks]
    assert [None] * 3 == [block.item_ids for block in blocks]
    assert str(tmp_path / "a.npy") == blocks[0].where
    np.testing.assert_array_equal(IMAGES, images_of(blocks))


def test_a_large_npy_is_never_all_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_arrays, "_BLOCK_BYTES", 100_000)
    np.save(tmp_path / "a.npy", np.zeros((500_000, *SHAPE), np.uint8))
    tracemalloc.start()

    items = sum(len(block.rows.only) for block in blocks_of(tmp_path / "a.npy"))

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

        blocks = read(tmp_path / "a.npz")

        assert [f"{tmp_path}/a.npz:second", f"{tmp_path}/a.npz:first"] == list(
            dict.fromkeys(block.where for block in blocks)
        )
        np.testing.assert_array_equal(np.roll(IMAGES, 3, axis=0), images_of(blocks))


def test_idx_is_read_in_blocks(tmp_path: Path) -> None:
    data = to_idx(IMAGES)
    for name, stored in (("idx3-ubyte", data), ("idx3-ubyte.gz", gzip.compress(data, mtime=0))):
        (tmp_path / name).write_bytes(stored)

        blocks = read(tmp_path / name)

        np.testing.assert_array_equal(IMAGES, images_of(blocks))


def test_vectors_and_token_sequences_are_read_as_they_are(tmp_path: Path) -> None:
    features = np.arange(26, dtype=np.float64).reshape(2, 13) / 3
    tokens = np.arange(8, dtype=np.int64).reshape(2, 4)
    np.save(tmp_path / "features.npy", features)
    np.savez_compressed(tmp_path / "tokens.npz", tokens)

    (of_features,) = read(tmp_path / "features.npy", item_shape=(13,))
    (of_tokens,) = read(tmp_path / "tokens.npz", item_shape=(4,))

    np.testing.assert_array_equal(features, of_features.rows.only, strict=True)
    np.testing.assert_array_equal(tokens, of_tokens.rows.only, strict=True)


def test_array_files_of_any_length_fit_a_model_of_open_sides(tmp_path: Path) -> None:
    tokens = np.arange(8, dtype=np.int64).reshape(2, 4)
    np.save(tmp_path / "tokens.npy", tokens)
    np.savez(tmp_path / "tokens.npz", tokens[:, :3])

    (four, three) = read(tmp_path / "tokens.npy", tmp_path / "tokens.npz", item_shape=(None,))

    np.testing.assert_array_equal(tokens, four.rows.only, strict=True)
    np.testing.assert_array_equal(tokens[:, :3], three.rows.only, strict=True)
    with pytest.raises(InputError, match=r"items of shape \(4,\), but the model takes \(None, 2\)"):
        read(tmp_path / "tokens.npy", item_shape=(None, 2))


def test_a_folder_is_read_with_all_below_it_by_name(tmp_path: Path) -> None:
    names = ["b/2.png", "b/1.JPG", "a.png", ".hidden.txt", ".git/x", "__MACOSX/a.png", "b/none"]
    for number, name in enumerate(names):
        write_image(tmp_path / "photos" / name, IMAGES[number % 6])
    files = LocalFiles(paths=[tmp_path / "photos"])

    blocks = read(files=files)

    assert ["a.png", "b/1.JPG", "b/2.png", "b/none"] == ids_of(blocks)
    assert (tmp_path / "photos/a.png").read_bytes() == blocks[0].data
    assert 0 == files.left_out.count


def test_a_glob_is_expanded_and_gives_the_same_ids_as_the_shells(tmp_path: Path) -> None:
    names = [
        write_image(tmp_path / "photos/b.png", IMAGES[1]),
        write_image(tmp_path / "photos/a.png", IMAGES[0]),
    ]
    (tmp_path / "photos/notes.txt").write_text("not an image")

    for pattern in ("*.png", "**/*.png", "[ab].png", "*"):
        assert ["a.png", "b.png"] == ids_of(read(f"{tmp_path}/photos/{pattern}"))
    assert ["a.png", "b.png"] == ids_of(read(*sorted(names)))


def test_a_glob_reads_the_folders_that_it_matches(tmp_path: Path) -> None:
    write_image(tmp_path / "photos/cats/1.png")
    write_image(tmp_path / "photos/dogs/1.png")

    assert ["cats/1.png", "dogs/1.png"] == ids_of(read(tmp_path / "photos/*"))


def test_patterns_include_and_exclude_by_name_and_by_path(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "sub/c.png", "thumbs/d.png"):
        write_image(tmp_path / "photos" / name)
    selection = Selection(include=["*.png"], exclude=["thumbs/*"])

    for path in (tmp_path / "photos", tmp_path / "photos/**", tmp_path / "photos/*"):
        files = LocalFiles(paths=[path], selection=selection)
        assert ["a.png", "sub/c.png"] == ids_of(read(files=files))
        assert 0 == files.left_out.count
    with pytest.raises(InputError, match=r"photos has no file that is included; check include"):
        read(files=LocalFiles(paths=[tmp_path / "photos"], selection=Selection(include=["*.gif"])))


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


@pytest.mark.usefixtures("small_blocks")
def test_rows_of_arrays_among_images_have_ids_too(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", IMAGES[0])
    np.save(tmp_path / "a.npy", IMAGES[1:4])
    np.savez(tmp_path / "b.npz", x=IMAGES[4:])

    blocks = read(tmp_path / "1.png", tmp_path / "a.npy", tmp_path / "b.npz")

    expected = ["1.png", "a.npy#0", "a.npy#1", "a.npy#2", "b.npz:x#0", "b.npz:x#1"]
    assert expected == ids_of(blocks)
    np.testing.assert_array_equal(IMAGES[1:], images_of(blocks[1:]))


def test_the_kind_is_what_the_file_holds_not_what_it_is_called(tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.npy", IMAGES[0])
    with (tmp_path / "array.png").open("wb") as file:
        np.save(file, IMAGES[1:])

    one, rows = read(tmp_path / "image.npy", tmp_path / "array.png")

    assert image.read_bytes() == one.data
    np.testing.assert_array_equal(IMAGES[1:], rows.rows.only)


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
        ("a.npy", npy_bytes(np.array(1, np.uint8)), "is a single value"),
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
        ("a.tar.gz", gzip.compress(tar_bytes({"a.png": b"x"})[:700]), "damaged"),
        ("a.tar", tar_bytes({"a.txt": b"x"}), r"a\.tar has no image file"),
        (
            "a.tar",
            tar_bytes({"a.png": bytes(600)})[:900],
            "a.png is cut off; write the archive again",
        ),
        ("a.zip", npz_bytes("a.txt", b"x"), r"a\.zip has no image file"),
        ("a.dat", b"1,2,3", "is of no known kind"),
        ("a.tar", bytes(10_240), r"a\.tar is an archive that holds no file"),
        ("a.tar.bz2", bz2.compress(tar_bytes({"a.png": b"x"})), "compressed by bzip2, which is no"),
        ("a.tar.xz", lzma.compress(tar_bytes({"a.png": b"x"})), r"by xz.* or pack it as \.tar\.gz"),
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


@pytest.mark.parametrize("pattern", ["", "*", "**"])
def test_what_is_no_image_is_left_out_and_broken_images_are_items(
    tmp_path: Path, pattern: str
) -> None:
    # given a folder as people have them
    folder = tmp_path / "photos"
    good = write_image(folder / "a.png", IMAGES[1])
    for name, data in {
        "b.png": b"",
        "c.png": good.read_bytes()[:-20],
        "d.jpg": b"no image",
        "labels.csv": b"a,b",
        "README": b"",
        "Thumbs.db": b"\xd0\xcf",
        "desktop.ini": b"[x]",
        ".DS_Store": b"x",
    }.items():
        (folder / name).write_bytes(data)
    (folder / "more").symlink_to(tmp_path)
    files = LocalFiles(paths=[folder / pattern if pattern else folder])

    # when
    images = [block for block in read(files=files) if "more" not in (block.item_id or "")]

    # then the images are there, as they are
    assert ["a.png", "b.png", "c.png", "d.jpg"] == ids_of(images)
    assert [(folder / f.item_id).read_bytes() for f in images] == [f.data for f in images]
    # and the others are listed
    left_out = [r.removeprefix(f"{folder}/").split()[0] for r in files.left_out.reasons]
    assert {"README", "labels.csv"} <= set(left_out)
    with pytest.raises(InputError, match=r"photos/README is .*photos/labels\.csv is "):
        read(folder / pattern if pattern else folder, strict=True)


def test_a_folder_without_an_image_stands_for_what_else_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b")
    with pytest.raises(InputError, match=r"b\.txt holds texts, and the model takes uint8"):
        read(tmp_path)

    np.save(tmp_path / "a.npy", IMAGES)
    np.testing.assert_array_equal(IMAGES, images_of(read(tmp_path)))

    image = write_image(tmp_path / "c.png")
    files = LocalFiles(paths=[tmp_path])
    assert [image.read_bytes()] == [file.data for file in read(files=files)]
    assert ["a.npy", "b.txt"] == [
        reason.removeprefix(f"{tmp_path}/").split()[0] for reason in files.left_out.reasons
    ]


def test_a_linked_folder_is_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere/a.png")
    write_image(tmp_path / "photos/a.png")
    (tmp_path / "photos/more").symlink_to(tmp_path / "elsewhere")
    files = LocalFiles(paths=[tmp_path / "photos"])

    assert ["a.png"] == ids_of(read(files=files))
    assert "photos/more is a link to a folder" in str(files.left_out)


def test_a_file_that_is_too_large_fails_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"x" * 2000)

    small, large = read(tmp_path, max_file_bytes=1000)

    assert (None, b"") == (small.error, large.data)
    assert "b.png has more than 1000 bytes" in large.error


# Archives.


def tar_bytes(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def zip_bytes(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def test_archives_are_folders_of_the_images_in_them(tmp_path: Path) -> None:
    files = {f"{'x' * 150}/{n}.png": bytes([n]) * (n * 300) for n in range(1, 9)}
    others = {"README": b"x", "__MACOSX/1.png": b"x", ".hidden.png": b"x", "bare": b"GIF89a"}
    for name, data in (
        ("a.tar", tar_bytes({**others, **files})),
        ("a.tar.gz", gzip.compress(tar_bytes({**others, **files}))),
        ("a.zip", zip_bytes({**others, **files})),
        ("named-otherwise", zip_bytes({**others, **files})),
    ):
        (tmp_path / name).write_bytes(data)
        given = LocalFiles(paths=[tmp_path / name])

        found = {file.item_id: file.data for file in read(files=given)}

        assert {"bare": b"GIF89a", **files} == found
        assert f"1 file: {tmp_path}/{name}/README is not an image file" == str(given.left_out)
    # with another input, the archive is part of the path
    write_image(tmp_path / "b.png")
    both = read(tmp_path / "a.tar", tmp_path / "b.png")
    assert ["a.tar/bare", "b.png"] == [ids_of(both)[0], ids_of(both)[-1]]


def test_an_image_that_is_a_link_in_an_archive_is_told_of(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        archive.addfile(link)
    given = LocalFiles(paths=[tmp_path / "a.tar"])

    assert ["a.png"] == ids_of(read(files=given))

    assert f"1 file: {tmp_path}/a.tar/b.png is a link; pack it" in str(given.left_out)


def test_a_damaged_or_encrypted_member_of_a_zip_fails_alone(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"a.png": b"a" * 99, "b.png": os.urandom(999), "c.png": b"c"}))
    data[data.index(b"b.png") + 50] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)

    one, two, three = read(tmp_path / "a.zip")

    assert (b"a" * 99, b"c") == (one.data, three.data)
    assert "a.zip/b.png is damaged" in two.error


def test_an_archive_that_expands_suspiciously_is_refused(tmp_path: Path) -> None:
    # given an archive with a file of 100 GB, of which a gzip stream claims little
    header = tarfile.TarInfo("a.png")
    header.size = 100 * 2**30
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))

    with pytest.raises(InputError, match=r"a\.tar\.gz has .* bytes and expands to 107374182912 or"):
        read(tmp_path / "a.tar.gz")


def test_a_long_name_of_an_archive_takes_no_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**30
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2**16))

    with pytest.raises(InputError, match=r"damaged tar archive \(a file has 1073741824 bytes of"):
        read(tmp_path / "a.tar")


def test_patterns_choose_among_the_files_of_an_archive(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png").read_bytes()
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in ("d/1.png", "e/2.png"):
                archive.writestr(member, image)

    def ids(path: str, **selection: list[str]) -> list[str]:
        given = LocalFiles(paths=[tmp_path / path], selection=Selection(**selection))
        return ids_of(read(files=given))

    assert ["d/1.png"] == ids("one.zip", include=["d/*"])
    assert ["e/2.png"] == ids("one.zip", exclude=["d/*"])
    assert ["d/1.png", "e/2.png"] == ids("one.zip", include=["*.zip"])
    # In archives of a folder, or of a glob, too.
    (tmp_path / "a.png").unlink()
    for path in ("", "*.zip"):
        assert ["one.zip/d/1.png", "two.zip/d/1.png"] == ids(path, include=["d/*"])
        with pytest.raises(InputError, match=r"one\.zip has no image file that is included"):
            ids(path, include=["f/*"])
    with pytest.raises(InputError, match=r"one\.zip has no file that is included"):
        ids("one.zip", exclude=["*.zip"])


def test_a_pattern_may_begin_in_a_folder_named_like_one(tmp_path: Path) -> None:
    write_image(tmp_path / "photos [1]" / "a.png")

    (found,) = read(f"{tmp_path}/photos [1]/*.png")

    assert found.item_id == "a.png"


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    for path, reason in (
        ("missing.npy", "missing.npy does not exist; check the path"),
        ("*.npy", r"\*\.npy matches no files; check the pattern"),
        ("", "has no file to read; check the path"),
    ):
        with pytest.raises(InputError, match=reason):
            read(tmp_path / path)
    # All of them are named.
    with pytest.raises(InputError, match=r"a\.npy does not exist; .*b\*\.npy matches no files"):
        read(tmp_path / "a.npy", tmp_path / "b*.npy")


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
        blocks_of(*paths)


def test_a_file_that_shrinks_meanwhile_is_an_error_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((100_000, *SHAPE), np.uint8))
    monkeypatch.setattr(named_arrays, "_BLOCK_BYTES", 100_000)
    blocks = blocks_of(path)
    next(blocks)

    os.truncate(path, 1_000_000)

    with pytest.raises(InputError, match="truncated"):
        list(blocks)
